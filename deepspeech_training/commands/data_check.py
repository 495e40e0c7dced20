"""`deepspeech data check`: the check of all data that the trainer does before its first step, alone."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from deepspeech_training.alphabet import Alphabet, alphabet_of_flags
from deepspeech_training.config import Config, parse_flags
from deepspeech_training.config.command_line import FlagParser
from deepspeech_training.console import Console
from deepspeech_training.data.sample import write_rejections
from deepspeech_training.data.samples import check_sets
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError
from deepspeech_training.features.geometry import FeatureGeometry

USAGE = """usage: {prog} --train_files A.csv [any flags of `deepspeech train`] [--rejected_file FILE.csv]

Checks every row of --train_files, --dev_files, --test_files and --metrics_files as the trainer does before its first
step (docs/data.md), with --alphabet_config_path, --bytes_output_mode, --audio_sample_rate, --feature_win_len and
--feature_win_step.
Exit code 0: all rows can be used; 1: some cannot. With --on_bad_row drop it counts them; --rejected_file lists all.
"""


@dataclass(frozen=True)
class CheckFlags:
    """What the command line says."""

    config: Config
    rejected_file: str


class CheckParser:
    """Reads the flags of a training, and --rejected_file."""

    def __init__(self, prog: str):
        self._prog = prog

    def parse_args(self, words: Sequence[str]) -> CheckFlags:
        own = argparse.ArgumentParser(self._prog, add_help=False, allow_abbrev=False)
        own.add_argument("--rejected_file", default="")
        own.add_argument("--help", "-h", action="store_true")
        found, rest = own.parse_known_args(words)
        if found.help:
            print(USAGE.format(prog=self._prog), end="")
            sys.exit(EXIT_OK)
        return CheckFlags(parse_flags(rest).config, found.rejected_file)

    def as_argparse(self) -> argparse.ArgumentParser:
        """For programs that complete options; see `FlagParser`."""
        parser = FlagParser(self._prog, description=__doc__).as_argparse()
        parser.add_argument("--rejected_file", metavar="FILE", help="list every row that cannot be used")
        return parser


def parser(prog: str) -> CheckParser:
    return CheckParser(prog)


def run(flags: CheckFlags, console: Console) -> int:
    """Exit code 1 if a row cannot be used."""
    data, decoder = flags.config.data, flags.config.decoder
    path, bytes_output_mode = decoder.alphabet_config_path, decoder.bytes_output_mode
    named = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files, "metrics": data.metrics_files}
    csvs = {name: paths for name, paths in named.items() if paths}
    if not csvs:
        raise FlagError("name at least one of --train_files, --dev_files, --test_files and --metrics_files")
    checked = check_sets(
        csvs,
        alphabet=alphabet_of_flags(path, bytes_output_mode=bytes_output_mode) or Alphabet.english(),
        geometry=FeatureGeometry(data.audio_sample_rate, data.feature_win_len, data.feature_win_step),
        on_bad_row="drop" if flags.rejected_file else data.on_bad_row,
        cache_dir=None,
        console=console,
        alphabet_name="--bytes_output_mode" if bytes_output_mode else path or "English, of the package",
    )
    if flags.rejected_file:
        write_rejections(flags.rejected_file, checked.rejected)
    for warning in checked.warnings:
        console.warn(warning)
    for name, sets in checked.sets.items():
        for one in sets:
            bad = sum(rejection.csv_path == one.csv_path for rejection in checked.rejected)
            print(f"{name:<8} {len(one.samples):>9,} rows can be used, {bad:,} cannot  {one.csv_path}")
    return EXIT_RUN if checked.rejected else EXIT_OK
