"""What a model of spoken commands misses, and what it takes for a command: recordings -> a curve of thresholds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.console import Console
from deepspeech_training.data.rows import LABEL_COLUMNS, audio_path, read_rows
from deepspeech_training.errors import UserError
from deepspeech_training.runtime.commands import SpokenCommandModel
from deepspeech_training.runtime.detection import THRESHOLDS, Curve, curve_of
from deepspeech_training.runtime.stream import to_int16

PAUSE_S = 0.5  # of faint noise before and after a clip whose command is to be heard in a stream


@dataclass(frozen=True)
class Clip:
    """A recording by path; its label is "" where that does not count."""

    path: str
    label: str = ""


def clips_to_hear(
    said_in: Sequence[str], others_in: Sequence[str], commands: Sequence[str], console: Console
) -> tuple[list[Clip], list[Clip]]:
    """The clips of CSVs that say a command, and those of CSVs of other speech whose transcript has none in it.

    Raises:
        UserError: a CSV cannot be read.
    """
    said, others, left_out = [], [], 0
    spoken = {command.lower() for command in commands}
    for path in said_in:
        for row in read_rows(path, text_columns=LABEL_COLUMNS):
            label = row.transcript.strip()
            if not row.fault and label in commands:
                said.append(Clip(audio_path(path, row.wav_filename), label))
    for path in others_in:
        for row in read_rows(path):
            if row.fault or spoken & set(re.findall(r"\w+", row.transcript.lower())):
                left_out += 1
            else:
                others.append(Clip(audio_path(path, row.wav_filename)))
    console.info(f"Listens to {len(said):,} commands and {len(others):,} clips of other speech ({left_out:,} left out)")
    return said, others


def read_clip(clip: Clip, rate: int, console: Console) -> np.ndarray | None:
    """int16; None for one that cannot be read, which is said."""
    try:
        return to_int16(read_audio(clip.path, sample_rate=rate))
    except AudioError as error:
        console.warn(f"{clip.path} is left out: {error}")
        return None


def listen(
    model: SpokenCommandModel,
    commands: Sequence[Clip],
    speech: Sequence[Clip],
    console: Console,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Curve:
    """Misses on the commands and false alarms on the speech, at all thresholds.

    Raises:
        UserError: there are none of either.
    """
    rate = model.sample_rate
    faint = to_int16(1e-3 * np.random.Generator(np.random.PCG64(0)).standard_normal(round(PAUSE_S * rate)))
    said, others = [], []
    with console.progress("Listening", total=len(commands) + len(speech), unit="clips") as progress:
        for clip in commands:
            audio = read_clip(clip, rate, console)
            if audio is not None:
                said.append((clip.label, model.scores(np.concatenate([faint, audio, faint]))))
            progress.update()
        for clip in speech:
            audio = read_clip(clip, rate, console)
            if audio is not None:
                others.append(model.scores(audio))
            progress.update()
    if not said or not others:
        raise UserError("--other_speech_files: there are no commands, or no other speech, to listen to")
    return curve_of(
        said,
        others,
        model.labels,
        wanted=model.commands,
        frame_s=model.frame_s,
        first_frame=model.first_frame,
        hold_off_s=model.rule.hold_off_s,
        thresholds=thresholds,
    )
