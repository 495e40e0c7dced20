"""`deepspeech train`: a training, and all else that its flags ask for: DeepSpeech's form, one call for all."""

import os
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, alphabet_of_flags
from deepspeech_training.config import Config, ParsedFlags
from deepspeech_training.config.command_line import FlagParser
from deepspeech_training.console import Console
from deepspeech_training.data.folder import missing, report, scan
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError
from deepspeech_training.machine.device_choice import resource_lines
from deepspeech_training.machine.resources import read_resources
from deepspeech_training.training.session import carry_out


def parser(prog: str) -> FlagParser:
    return FlagParser(prog, description="Train a small streaming speech-to-text model, test it and use it.")


def run(parsed: ParsedFlags, console: Console) -> int:
    config = parsed.config
    if config.voice.check_voice_data:
        return _check_voice_data(config, console)
    if config.compute.show_resources:
        found = read_resources(config.checkpoint.save_dir)
        print("\n".join(resource_lines(config.compute, found, visible=os.environ.get("CUDA_VISIBLE_DEVICES"))))
        return EXIT_OK
    carry_out(parsed, console)
    return EXIT_OK


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
