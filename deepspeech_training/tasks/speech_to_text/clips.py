"""The clips of a run: the CSVs that the flags name, or those of a folder of recordings; checked and limited."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deepspeech_training.alphabet import Labels
from deepspeech_training.config.groups import DataFlags, LimitFlags
from deepspeech_training.console import Console
from deepspeech_training.data.folder import missing, rejections, scan, write_csvs
from deepspeech_training.data.sample import CheckedData, Rejection, write_rejections
from deepspeech_training.data.samples import check_sets
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.tasks.hearing import limited


def csvs_of_voice_folder(
    voice_dir: str, data: DataFlags, alphabet: Labels, *, folder: Path, console: Console
) -> tuple[dict[str, tuple[str, ...]], list[Rejection]]:
    """--voice_data_dir: find its CSVs, or make them in `folder`; -> the flags of files that they stand for.

    And the recordings that are left out.

    Raises:
        UserError: it cannot be trained on as it is.
    """
    found = scan(Path(voice_dir), console)
    csvs: Mapping[str, Sequence[str]] = found.csvs
    left_out: list[Rejection] = []
    for note in found.notes:
        console.warn(note)
    if csvs:
        console.info(f"{voice_dir} has CSVs of its own: {', '.join(itertools.chain.from_iterable(csvs.values()))}")
    else:
        faults = missing(found, alphabet)
        if faults and not (found.usable and data.on_bad_row == "drop"):
            raise UserError(
                f"--voice_data_dir {voice_dir}: {'; '.join(faults)}\n--check_voice_data tells all that is there."
            )
        csvs = {name: (path,) for name, path in write_csvs(found, folder / "voice_data", alphabet).items()}
        console.info(
            f"{voice_dir}: {len(found.usable):,} recordings with transcripts, divided into "
            f"{', '.join(path for (path,) in csvs.values())}; without the capitals and punctuation "
            "that the alphabet lacks"
        )
        left_out = rejections(found)
        if left_out:
            console.warn(
                f"{len(left_out):,} recordings are left out: unreadable, there in another format, or without a "
                "transcript (--check_voice_data names them)"
            )
    files = {
        "train_files": tuple(csvs["train"]),
        "dev_files": data.dev_files or tuple(csvs.get("dev", ())),
        "test_files": data.test_files or tuple(csvs.get("test", ())),
    }
    return files, left_out


def checked_data(
    data: DataFlags,
    limits: LimitFlags,
    *,
    trains: bool,
    alphabet: Labels,
    alphabet_name: str,
    features: FeatureGeometry,
    stride: int,
    folder: Path | None,
    seed: int,
    console: Console,
    left_out: Sequence[Rejection] = (),
) -> CheckedData:
    """Check every row of the CSVs, and keep as many clips as --limit_train and the like allow.

    Args:
        trains: whether the CSVs for training are needed too.
        stride: frames of features for each that the network makes of them.
        folder: where what is known of the audio files is kept, and which rows were rejected; None for nowhere.
        left_out: recordings of a folder that are in none of the CSVs.
    Raises:
        UserError: names the rows that cannot be used.
    """
    csvs = {"test": data.test_files}
    if trains:
        csvs = {"train": data.train_files, "dev": data.dev_files, **csvs, "metrics": data.metrics_files}
    csvs = {name: paths for name, paths in csvs.items() if paths}
    if not csvs:
        return CheckedData()
    checked = check_sets(
        csvs,
        alphabet=alphabet,
        geometry=features,
        stride=stride,
        on_bad_row=data.on_bad_row,
        cache_dir=None if folder is None else folder / "data_check",
        console=console,
        alphabet_name=alphabet_name,
        workers=None,
    )
    checked = replace(checked, rejected=[*left_out, *checked.rejected])
    for warning in checked.warnings:
        console.warn(warning)
    if folder is not None and not checked.rejected:
        (folder / "rejected.csv").unlink(missing_ok=True)  # of an earlier run, whose rows are fixed now
    elif folder is not None:
        write_rejections(folder / "rejected.csv", checked.rejected)
        console.warn(f"The rows left out are listed in {folder / 'rejected.csv'}")
    return limited(checked, limits, seed)
