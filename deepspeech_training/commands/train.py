"""The command that trains, and does all else that its flags ask for: DeepSpeech's form, one call for all."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, alphabet_of_flags
from deepspeech_training.config import Config, parse_flags
from deepspeech_training.config.help import format_help
from deepspeech_training.console import Console
from deepspeech_training.data.folder import missing, report, scan
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.machine.device_choice import resource_lines
from deepspeech_training.machine.resources import read_resources
from deepspeech_training.reporting.session_log import program
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.training.session import carry_out
from deepspeech_training.version import VERSION


def export_main(argv: Sequence[str] | None = None) -> int:
    """Export a checkpoint and do nothing else: --test_files are only what the exported model is compared on."""
    return main(argv, only="export")


def main(argv: Sequence[str] | None = None, *, only: str = "") -> int:
    """Run the program; returns its exit code: 0 done, 1 data or run, 2 flags, 130 Ctrl-C, 143 SIGTERM."""
    console = Console()
    argv = list(map(str, sys.argv[1:] if argv is None else argv))
    try:
        interrupts.install()
        parsed = parse_flags(argv)
        if parsed.version_wanted:
            print(VERSION)
            return EXIT_OK
        if parsed.help_wanted:
            print(format_help(min(shutil.get_terminal_size().columns, 110), full=parsed.help_wanted == "full"))
            return EXIT_OK
        if parsed.config.voice.check_voice_data:
            return _check_voice_data(parsed.config, console)
        if parsed.config.compute.show_resources:
            found = read_resources(parsed.config.checkpoint.save_dir)
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            print("\n".join(resource_lines(parsed.config.compute, found, visible=visible)))
            return EXIT_OK
        reporting = parsed.config.reporting
        console = Console(level=reporting.log_level, show_progressbar=reporting.show_progressbar)
        carry_out(parsed, console, command=shlex.join([program(), *argv]), only=only)
        return EXIT_OK
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except Interrupted as interrupted:
        if str(interrupted):
            console.info(str(interrupted))
        return interrupted.exit_code


def _check_voice_data(config: Config, console: Console) -> int:
    """Print what --voice_data_dir has; exit code 1 where it cannot be trained on."""
    if not config.voice.voice_data_dir:
        raise FlagError("--check_voice_data looks at --voice_data_dir; give it")
    decoder = config.decoder
    named = alphabet_of_flags(decoder.alphabet_config_path, bytes_output_mode=decoder.bytes_output_mode)
    alphabet = named or Alphabet.english()
    found = scan(Path(config.voice.voice_data_dir), console)
    print("\n".join(report(found, alphabet)))
    return EXIT_RUN if missing(found, alphabet) else EXIT_OK
