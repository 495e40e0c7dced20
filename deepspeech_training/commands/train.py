"""DeepSpeech's form, one call for all: argv -> check of everything -> train, test, export, transcribe, in this order.

Flags, checkpoints, alphabet and every row of every CSV are checked before TensorFlow is imported. An export alone does
not import it.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, alphabet_of_flags
from deepspeech_training.commands import text
from deepspeech_training.commands.export import export, with_export_dir
from deepspeech_training.config import Config, ParsedFlags, parse_flags
from deepspeech_training.config.help import format_help
from deepspeech_training.console import Console
from deepspeech_training.data.folder import missing, report, scan
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.machine.device_choice import resource_lines
from deepspeech_training.machine.resources import read_resources
from deepspeech_training.reporting.console_sink import ConsoleSink, EventConsole
from deepspeech_training.reporting.events import Events
from deepspeech_training.reporting.session_log import program
from deepspeech_training.training import announce
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.training.run import Run, call_of, prepare
from deepspeech_training.training.source import source_of_evaluation
from deepspeech_training.version import VERSION


def run(
    parsed: ParsedFlags,
    console: Console,
    *,
    argv: Sequence[str] = (),
    only: str = "",
    show: Callable[[str], None] = print,
) -> int:
    """Do all that the flags ask for.

    Args:
        argv: the words of the command line, for the session log.
        only: "test" or "export" for a command that does nothing else.
        show: takes what belongs on stdout: reports and the transcript.
    Raises:
        UserError: what a person can mend.
        Interrupted: a signal came.
    """
    if only == "export":
        parsed = replace(parsed, config=with_export_dir(parsed.config))
    events = Events([ConsoleSink(console, log_steps=parsed.config.reporting.log_steps)])
    console = EventConsole(console, events)
    with announce.ending(events):
        for notice in parsed.notices:
            console.warn(notice)
        command = shlex.join([program(), *map(str, argv)])
        call = call_of(parsed, only=only, command=command, console=console, events=events)
        if call.work.names == ["text"]:
            text.build_alone(call)
            return EXIT_OK
        checked = prepare(call)
        if call.work.text:
            text.build(call, checked.alphabet)
        if call.work.computes:
            _compute(checked, show)
        else:
            export(checked, checked.source)
    return EXIT_OK


def _compute(run: Run, show: Callable[[str], None]) -> None:
    """What needs TensorFlow, and the export of what has been trained."""
    from deepspeech_training.commands.infer import infer
    from deepspeech_training.commands.test import test
    from deepspeech_training.training import begin

    machine, task = begin.set_up(run)
    backend, source = None, run.source
    if run.work.train:
        announce.preset(run)
        backend, _ = begin.train(run, task, machine)
        source = source_of_evaluation(run.config.checkpoint, run.call.given, run.folder)
    tests = "test" in run.data.sets
    if tests or run.work.infer:
        backend = begin.backend_for_evaluation(run, task, machine, source, backend)
    if tests:
        test(run, backend, task, machine, show)
    if run.work.export:
        export(run, source)
    if run.work.infer:
        show(infer(run, backend, task))
    if run.cache is not None:
        run.console.info(f"Cache {run.cache.describe()}")


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
        return run(parsed, console, argv=argv, only=only, show=lambda text: print(text, flush=True))
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
