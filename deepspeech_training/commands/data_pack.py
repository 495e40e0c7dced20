"""`deepspeech data pack`: CSVs and their clips into a few large files, for network disks and large corpora."""

import argparse
import re
from pathlib import Path

from deepspeech_training.audio.sdb import SUFFIX as SDB_SUFFIX
from deepspeech_training.console import Console
from deepspeech_training.data.pack import FORMATS, OPUS_RATES, PackRules, pack
from deepspeech_training.data.pack_sdb import FORMATS as SDB_FORMATS
from deepspeech_training.data.pack_sdb import pack_sdb
from deepspeech_training.errors import FlagError, UserError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Pack the clips of CSVs into uncompressed tar files of about 1 GB, with an index beside each and a "
        "CSV that names the clips in them, or into DeepSpeech's sample databases (docs/shards.md). The folder is what "
        "--train_files, --dev_files and --test_files then take.",
        allow_abbrev=False,
        epilog="Example: deepspeech data pack train.csv dev.csv test.csv --output /data/packed",
    )
    parser.add_argument(
        "csvs", nargs="+", metavar="CSV", help="or .sdb: train.csv becomes train-000000.tar ... and train.csv"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write into; made if need be")
    parser.add_argument(
        "--format",
        choices=(*FORMATS, *SDB_FORMATS),
        default="keep",
        help="keep takes the files as they are; flac, opus and wav convert them to mono of 16 bits; sdb and sdb_opus "
        "make a sample database of DeepSpeech of each CSV, with WAV or with its form of Opus (default: keep)",
    )
    parser.add_argument(
        "--sample_rate", type=int, default=16000, metavar="HZ", help="of clips that are converted (default: 16000)"
    )
    parser.add_argument(
        "--shard_size",
        metavar="SIZE",
        help="such as 500MB; a full shard is followed by another; not with sdb (default: 1GB)",
    )
    parser.add_argument(
        "--by_size",
        action="store_true",
        help="with sdb: from the smallest wav_filesize to the greatest, as DeepSpeech trains; default: as in the CSV",
    )
    parser.add_argument("--unlabeled", action="store_true", help="with sdb: without transcripts, for augmentations")
    parser.add_argument(
        "--on_bad_row",
        choices=("fail", "drop"),
        default="fail",
        help="rows whose clips cannot be read are an error, or are left out (default: fail)",
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    into_sdb = flags.format in SDB_FORMATS
    for name in ("by_size", "unlabeled") if not into_sdb else ("shard_size",):
        if getattr(flags, name):
            raise FlagError(f"--{name}: {'not' if into_sdb else 'only'} with --format {' or '.join(SDB_FORMATS)}")
    if flags.format in ("opus", "sdb_opus") and flags.sample_rate not in OPUS_RATES:
        raise FlagError(f"--sample_rate {flags.sample_rate}: Opus has {', '.join(map(str, OPUS_RATES))} Hz")
    if flags.sample_rate < 1:
        raise FlagError(f"--sample_rate {flags.sample_rate}: it must be above 0")
    rules = PackRules(flags.format, flags.sample_rate, bytes_of(flags.shard_size or "1GB"), flags.on_bad_row)
    folder = Path(flags.output)
    names: dict[str, str] = {}
    for csv_path in flags.csvs:
        if not (name := Path(csv_path).stem) or names.setdefault(name, csv_path) != csv_path:
            raise FlagError(f"{names[name]} and {csv_path} have the same name: pack them into two folders")
        target = folder / (name + (SDB_SUFFIX if into_sdb else ".csv"))
        if target.resolve() == Path(csv_path).resolve():
            raise FlagError(f"--output {folder}: {csv_path} lies there and would be replaced; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {folder}: the folder cannot be made: {error.strerror}") from error
    for csv_path in flags.csvs:
        if into_sdb:
            packed = pack_sdb(csv_path, folder, rules, console, labelled=not flags.unlabeled, by_size=flags.by_size)
        else:
            packed = pack(csv_path, folder, rules, console)
        kept = f", {packed.kept:,} of them from an earlier call" if packed.kept else ""
        shards = "" if into_sdb else f" in {packed.shards:,} shards"
        size = f"{packed.clips:,} clips{shards}, {packed.num_bytes / 1e9:.3f} GB"
        print(f"{packed.csv_path}  {size}{kept}", flush=True)


def bytes_of(text: str) -> int:
    """
    >>> bytes_of("1GB"), bytes_of("1.5 MB"), bytes_of("4096")
    (1000000000, 1500000, 4096)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]b|b?)", text.strip().lower())
    unit = found[2] if found else ""
    num_bytes = round(float(found[1]) * UNITS[unit]) if found else 0
    if num_bytes < 1:
        raise FlagError(f"--shard_size {text}: it must be a size such as 1GB or 500MB")
    return num_bytes
