"""`deepspeech data check`: the check of all data that the trainer does before its first step, alone."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from deepspeech_training.audio.sdb import is_sdb
from deepspeech_training.config import ParsedFlags, parse_flags
from deepspeech_training.config.command_line import FlagParser
from deepspeech_training.console import Console
from deepspeech_training.data.sample import CheckedData, write_rejections
from deepspeech_training.data.samples import FAULTS_SHOWN, check_sets
from deepspeech_training.data.shard_folder import shards_of, total_bytes, verify_all
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError
from deepspeech_training.tasks.speech_to_text.described_model import model_to_check

USAGE = """usage: {prog} --train_files A.csv [any flags of `deepspeech train`] [--rejected_file FILE.csv]
       [--skip_checksums]

Checks every row of --train_files, --dev_files, --test_files and --metrics_files as the trainer does before its first
step (docs/data.md), for the model that it would train: with the alphabet, sample rate and windows of its flags, or of
the checkpoint that it would start from (--checkpoint_dir, --load_checkpoint_dir). Shards (`deepspeech data pack`) are
read from end to end and their checksums compared, unless --skip_checksums is given.
Exit code 0: all rows can be used; 1: some cannot. With --on_bad_row drop it counts them; --rejected_file lists all.
"""


@dataclass(frozen=True)
class CheckFlags:
    """What the command line says."""

    parsed: ParsedFlags
    rejected_file: str
    skip_checksums: bool


class CheckParser:
    """Reads the flags of a training, and --rejected_file and --skip_checksums."""

    def __init__(self, prog: str):
        self._prog = prog

    def parse_args(self, words: Sequence[str]) -> CheckFlags:
        own = argparse.ArgumentParser(self._prog, add_help=False, allow_abbrev=False)
        own.add_argument("--rejected_file", default="")
        own.add_argument("--skip_checksums", action="store_true")
        own.add_argument("--help", "-h", action="store_true")
        found, rest = own.parse_known_args(words)
        if found.help:
            print(USAGE.format(prog=self._prog), end="")
            sys.exit(EXIT_OK)
        return CheckFlags(parse_flags(rest), found.rejected_file, found.skip_checksums)

    def as_argparse(self) -> argparse.ArgumentParser:
        """For programs that complete options; see `FlagParser`."""
        parser = FlagParser(self._prog, description=__doc__).as_argparse()
        parser.add_argument("--rejected_file", metavar="FILE", help="list every row that cannot be used")
        parser.add_argument("--skip_checksums", action="store_true", help="do not read shards from end to end")
        return parser


def parser(prog: str) -> CheckParser:
    return CheckParser(prog)


def run(flags: CheckFlags, console: Console) -> int:
    """Exit code 1 if a row cannot be used."""
    data = flags.parsed.config.data
    named = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files, "metrics": data.metrics_files}
    csvs = {name: paths for name, paths in named.items() if paths}
    if not csvs:
        raise FlagError("name at least one of --train_files, --dev_files, --test_files and --metrics_files")
    model = model_to_check(flags.parsed.config, flags.parsed.given, console)
    checked = check_sets(
        csvs,
        alphabet=model.alphabet,
        geometry=model.features,
        stride=model.network.stride,
        on_bad_row="drop" if flags.rejected_file else data.on_bad_row,
        cache_dir=None,
        console=console,
        alphabet_name=model.alphabet_name,
    )
    if flags.rejected_file:
        write_rejections(flags.rejected_file, checked.rejected)
    for warning in checked.warnings:
        console.warn(warning)
    for name, sets in checked.sets.items():
        for one in sets:
            bad = sum(rejection.csv_path == one.csv_path for rejection in checked.rejected)
            print(f"{name:<8} {len(one.samples):>9,} rows can be used, {bad:,} cannot  {one.csv_path}")
    damaged = 0 if flags.skip_checksums else _check_shards(checked, console)
    return EXIT_RUN if checked.rejected or damaged else EXIT_OK


def _check_shards(checked: CheckedData[SpeechSample], console: Console) -> int:
    """Compare the checksums of all shards that the rows name; returns the number of faults.

    DeepSpeech's sample databases have none.
    """
    named = shards_of(sample.path for _, found in checked.all_sets() for sample in found.samples)
    shards = [shard for shard in named if not is_sdb(shard)]
    if not shards:
        return 0
    faults = 0
    with console.progress("comparing checksums", total=total_bytes(shards), unit="bytes") as progress:
        for fault in verify_all(shards, progress.update):
            faults += 1
            if faults <= FAULTS_SHOWN:
                console.error(fault)
    if faults > FAULTS_SHOWN:
        console.error(f"... and {faults - FAULTS_SHOWN:,} more")
    if faults:
        console.error("Copy the shard again from its source, or delete it and run the same `deepspeech data pack`.")
    print(f"{len(shards):,} shards, {faults:,} faults")
    return faults
