"""The trainer's check of all data alone: `bin/check_data.py --train_files train.csv --dev_files dev.csv`."""

import argparse
from collections.abc import Sequence

from deepspeech_training.alphabet import Alphabet, alphabet_of_flags
from deepspeech_training.config import Config, parse_flags
from deepspeech_training.console import Console
from deepspeech_training.data.sample import CheckedData, write_rejections
from deepspeech_training.data.samples import check_sets
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry

USAGE = """usage: check_data.py --train_files A.csv [any flags of DeepSpeech.py] [--rejected_file FILE.csv]

Checks every row of --train_files, --dev_files, --test_files and --metrics_files as the trainer does before its first
step (docs/data.md), with --alphabet_config_path, --bytes_output_mode, --audio_sample_rate, --feature_win_len and
--feature_win_step.
Exit code 0: all rows can be used; 1: some cannot. With --on_bad_row drop it counts them; --rejected_file lists all.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command `bin/check_data.py`."""
    console = Console()
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--rejected_file", default="")
    own.add_argument("--help", "-h", action="store_true")
    flags, rest = own.parse_known_args(argv)
    if flags.help:
        print(USAGE, end="")
        return EXIT_OK
    try:
        config = parse_flags(rest).config
        checked = _check(config, "drop" if flags.rejected_file else config.data.on_bad_row, console)
        if flags.rejected_file:
            write_rejections(flags.rejected_file, checked.rejected)
        _say(checked, console)
        return EXIT_RUN if checked.rejected else EXIT_OK
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _check(config: Config, on_bad_row: str, console: Console) -> CheckedData:
    data, path, bytes_output_mode = config.data, config.decoder.alphabet_config_path, config.decoder.bytes_output_mode
    named = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files, "metrics": data.metrics_files}
    csvs = {name: paths for name, paths in named.items() if paths}
    if not csvs:
        raise FlagError("name at least one of --train_files, --dev_files, --test_files and --metrics_files")
    return check_sets(
        csvs,
        alphabet=alphabet_of_flags(path, bytes_output_mode=bytes_output_mode) or Alphabet.english(),
        geometry=FeatureGeometry(data.audio_sample_rate, data.feature_win_len, data.feature_win_step),
        on_bad_row=on_bad_row,
        cache_dir=None,
        console=console,
        alphabet_name="--bytes_output_mode" if bytes_output_mode else path or "English, of the package",
    )


def _say(checked: CheckedData, console: Console) -> None:
    for warning in checked.warnings:
        console.warn(warning)
    for name, sets in checked.sets.items():
        for one in sets:
            bad = sum(rejection.csv_path == one.csv_path for rejection in checked.rejected)
            print(f"{name:<8} {len(one.samples):>9,} rows can be used, {bad:,} cannot  {one.csv_path}")
