"""An exported model of spoken commands and a CSV -> its answers, and how many of them are right."""

from pathlib import Path

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.console import Console
from deepspeech_training.data.rows import LABEL_COLUMNS, Row, read_rows
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.commands import CommandReport, CommandResult
from deepspeech_training.runtime.commands import SpokenCommandModel, class_of
from deepspeech_training.runtime.detection import LEAST
from deepspeech_training.runtime.evaluate import warn_of
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.runtime.stream import to_int16


def evaluate_commands(file: ModelFile, csv_path: str, *, console: Console) -> CommandReport:
    """The class of every clip of a CSV; clips that cannot be used are listed and left out.

    Raises:
        UserError: the model or the CSV cannot be used, or none of its clips can.
    """
    with without_delegate_notice():
        model = SpokenCommandModel(file, num_threads=1)
    rows = read_rows(csv_path, text_columns=LABEL_COLUMNS)
    if not rows:
        raise UserError(f"{csv_path}: no rows to test on")
    results, faults = [], []
    with console.progress(f"Testing on {csv_path}", total=len(rows), unit="clips") as progress:
        for row in rows:
            found = _answer(model, row, Path(csv_path).parent)
            if isinstance(found, CommandResult):
                results.append(found)
            else:
                faults.append(f"{csv_path}, row {row.row}: {found}")
            progress.update()
    warn_of(faults, console)
    if not results:
        raise UserError(f"{csv_path}: none of its {len(rows):,} rows can be tested on")
    return CommandReport(csv_path, tuple(results), model.labels)


def _answer(model: SpokenCommandModel, row: Row, folder: Path) -> CommandResult | str:
    """What is heard in a clip, or why it cannot be used."""
    if row.fault:
        return row.fault
    wanted = class_of(row.transcript.strip(), model.labels)
    if wanted is None:
        return f"its label {row.transcript!r} is none of the classes ({', '.join(model.labels[:12])})"
    try:
        audio = to_int16(read_audio(str(folder / row.wav_filename), sample_rate=model.sample_rate))
    except AudioError as error:
        return f"{row.wav_filename}: {error}"
    answers = model.classify(audio)
    score = next(answer.score for answer in answers if answer.label == wanted)
    loss = -float(np.log(max(score, LEAST)))
    return CommandResult(row.wav_filename, wanted, answers[0].label, answers[0].score, loss)
