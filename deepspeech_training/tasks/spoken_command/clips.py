"""The rows of the CSVs -> clips with a class each, and clips of silence that are cut from recordings of noise."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.config.groups import DataFlags
from deepspeech_training.console import Console
from deepspeech_training.data.rows import LABEL_COLUMNS, Row, read_rows
from deepspeech_training.data.sample import CheckedData, SampleSet, write_rejections
from deepspeech_training.data.samples import check_sets
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.tasks.spoken_command.classes import SILENCE, Classes

QUIETEST_DB = -40.0  # of a cut of noise, against the recording
TENTHS = {"train": (0.0, 0.8), "dev": (0.8, 0.9), "test": (0.9, 1.0)}  # of each recording of noise, for each set


@dataclass(frozen=True, slots=True)
class CommandSample:
    """A clip and its class.

    Args:
        cost: samples at the rate of the features, at most those of --clip_seconds.
        cut: of a clip of silence that is cut from noise: the set that it is for; "" for a row's own recording.
    """

    id: str
    csv_path: str
    row: int
    path: str
    label: str
    size: int
    cost: int
    speaker: str | None = None
    cut: str = ""

    @property
    def content(self) -> str:
        return f"{self.label} {self.id}" if self.cut else self.label


def labels_of(csv_paths: Sequence[str]) -> list[str]:
    """The labels of all rows of some CSVs, from the column `label`, without it `transcript`."""
    return [row.transcript.strip() for path in csv_paths for row in read_rows(path, text_columns=LABEL_COLUMNS)]


def checked_commands(
    data: DataFlags,
    *,
    trains: bool,
    classes: Classes,
    features: FeatureGeometry,
    longest: int,
    noise: AudioSource | None,
    folder: Path | None,
    console: Console,
) -> CheckedData[CommandSample]:
    """Check every row of the CSVs.

    Args:
        trains: whether the CSVs for training are needed too.
        longest: samples of a clip that are used, at most.
        noise: recordings to cut clips of silence from.
        folder: where what is known of the audio files is kept; None for nowhere.
    Raises:
        UserError: names the rows that cannot be used.
    """
    csvs = {"test": data.test_files}
    if trains:
        csvs = {"train": data.train_files, "dev": data.dev_files, **csvs, "metrics": data.metrics_files}
    csvs = {name: paths for name, paths in csvs.items() if paths}
    if not csvs:
        return CheckedData()

    def read(csv_path: str) -> list[Row]:
        return [_with_class(row, classes) for row in read_rows(csv_path, text_columns=LABEL_COLUMNS)]

    checked = check_sets(
        csvs,
        alphabet=classes,
        geometry=features,
        on_bad_row=data.on_bad_row,
        cache_dir=None if folder is None else folder / "data_check",
        console=console,
        alphabet_name="classes",
        read=read,
    )
    for warning in checked.warnings:
        console.warn(warning)
    if folder is not None and checked.rejected:
        write_rejections(folder / "rejected.csv", checked.rejected)
        console.warn(f"The rows left out are listed in {folder / 'rejected.csv'}")
    elif folder is not None:
        (folder / "rejected.csv").unlink(missing_ok=True)  # of an earlier run, whose rows are fixed now
    sets = {
        kind: [SampleSet(one.csv_path, one.name, [_sample(s, longest) for s in one.samples]) for one in found]
        for kind, found in checked.sets.items()
    }
    if noise is not None:
        for kind in TENTHS.keys() & sets.keys():
            sets[kind] = [_with_silence(one, kind, noise, longest) for one in sets[kind]]
    if trains:
        _check_classes(sets["train"], classes)
    return CheckedData(sets, checked.rejected, checked.warnings, checked.from_cache)


def _with_class(row: Row, classes: Classes) -> Row:
    """A row whose text is the name of its class; with a fault where it has none."""
    label = row.transcript.strip()
    if row.fault or not label:
        return row
    found = classes.class_of(label)
    if found is None:
        known = f"{', '.join(classes.names[:12])}{' ...' if classes.size > 12 else ''}"
        return replace(row, fault=f"its label {label!r} is none of the classes ({known}), and there is no _unknown_")
    return replace(row, transcript=found)


def _sample(sample: SpeechSample, longest: int) -> CommandSample:
    return CommandSample(
        sample.id,
        sample.csv_path,
        sample.row,
        sample.path,
        sample.transcript,
        sample.size,
        min(sample.num_samples, longest),
        sample.speaker,
    )


def _with_silence(
    found: SampleSet[CommandSample], kind: str, noise: AudioSource, length: int
) -> SampleSet[CommandSample]:
    """As many clips of silence as the other classes have in the middle."""
    counts = Counter(sample.label for sample in found.samples)
    wanted = round(statistics.median(counts.values())) - counts[SILENCE]
    cuts = [
        CommandSample(f"{found.name}:silence {number}", found.csv_path, 0, noise.path, SILENCE, 0, length, None, kind)
        for number in range(1, wanted + 1)
    ]
    return SampleSet(found.csv_path, found.name, [*found.samples, *cuts])


def cut_of_noise(noise: AudioSource, sample: CommandSample) -> np.ndarray:
    """The audio of a clip of silence, a function of its id: float32 [cost], from that part of the noise which is for
    its set, at some level below it."""
    random = np.random.Generator(np.random.PCG64(list(sample.id.encode())))
    audio = noise.read(int(random.integers(len(noise))))
    first, last = (int(share * len(audio)) for share in TENTHS[sample.cut])
    part = audio[first:last] if last - first >= sample.cost else audio
    start = int(random.integers(max(len(part) - sample.cost, 0) + 1))
    level = 10 ** (random.uniform(QUIETEST_DB, 0.0) / 20)
    return np.float32(level) * np.resize(part[start : start + sample.cost], sample.cost)


def _check_classes(train: Sequence[SampleSet[CommandSample]], classes: Classes) -> None:
    there = {sample.label for found in train for sample in found.samples}
    lacking = [name for name in classes.names if name not in there]
    if lacking:
        raise UserError(
            f"--train_files: no usable row of the class {', '.join(lacking)}\nAdd some, or leave it out of --labels."
        )
