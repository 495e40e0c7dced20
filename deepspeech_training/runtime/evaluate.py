"""An exported model and a CSV -> WER and CER, on several processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.console import Console
from deepspeech_training.data.rows import Row, read_rows
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.metrics import Result, SetReport
from deepspeech_training.runtime.beam import BeamOptions
from deepspeech_training.runtime.loading import load_model
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.stream import to_int16

LISTED_FAULTS = 20


def evaluate(model_path: str, csv_path: str, *, processes: int, console: Console, beam: BeamOptions) -> SetReport:
    """Transcribe every clip of a CSV; clips that cannot be used are listed and left out.

    Raises:
        UserError: the model or the CSV cannot be used, or none of its clips can.
    """
    # Its faults are reported once, before the processes start, and the beam search is compiled once.
    load_model(model_path, beam, console=console)
    rows = read_rows(csv_path)
    if not rows:
        raise UserError(f"{csv_path}: no rows to test on")
    results, faults = [], []
    with console.progress(f"Testing on {csv_path}", total=len(rows), unit="clips") as progress:
        for row, (heard, fault) in zip(rows, _transcripts(model_path, csv_path, rows, processes, beam), strict=True):
            progress.update()
            if fault is None:
                others = {name: heard[name] for name in ("greedy", "without_scorer")}
                results.append(Result(row.wav_filename, row.transcript, heard["text"] or "", 0.0, **others))
            else:
                faults.append(f"{csv_path}, row {row.row}: {fault}")
    warn_of(faults, console)
    if not results:
        raise UserError(f"{csv_path}: none of its {len(rows):,} rows can be tested on")
    if faults:
        console.warn(f"{len(faults):,} of {len(rows):,} rows are left out of WER and CER")
    knows = Scorer.read(beam.scorer).language_model.__contains__ if beam.scorer else None
    return SetReport(csv_path, tuple(results), knows)


def warn_of(faults: Sequence[str], console: Console) -> None:
    """Name the first rows that cannot be used, and the number of the others."""
    for line in faults[:LISTED_FAULTS]:
        console.warn(line)
    if len(faults) > LISTED_FAULTS:
        console.warn(f"and {len(faults) - LISTED_FAULTS:,} more")


def _transcripts(
    model_path: str, csv_path: str, rows: Sequence[Row], processes: int, beam: BeamOptions
) -> Iterator[tuple[dict[str, str | None], str | None]]:
    """(what was heard, None) or ({}, fault) of each row, in their order."""
    folder = Path(csv_path).parent
    jobs = [(str(folder / row.wav_filename), row.fault) for row in rows]
    processes = min(processes, len(jobs))
    if processes == 1:
        _load(model_path, beam)
        yield from map(_transcribe, jobs)
        return
    # Spawned, not forked: LiteRT has threads, and a fork would keep only one of them.
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_load, initargs=(model_path, beam)
    ) as pool:
        try:
            yield from pool.map(_transcribe, jobs, chunksize=max(1, min(32, len(jobs) // (4 * processes))))
        except BrokenProcessPool as error:
            raise UserError(
                "A process that transcribes has ended: out of memory?\nTry fewer processes with --proc."
            ) from error


_model: Model  # one for each process


def _load(model_path: str, beam: BeamOptions) -> None:
    global _model
    _model = load_model(model_path, beam)


def _transcribe(job: tuple[str, str | None]) -> tuple[dict[str, str | None], str | None]:
    path, fault = job
    if fault is not None:
        return {}, fault
    try:
        audio = read_audio(path, sample_rate=_model.sampleRate())
    except AudioError as error:
        return {}, f"{path}: {error}"
    return _model.sttCompared(to_int16(audio)), None


def to_text(report: SetReport, report_count: int) -> str:
    """The report a person reads."""
    lines = [f"Test on {report.name} - WER: {report.wer:.6f}, CER: {report.cer:.6f} ({len(report.results):,} clips)"]
    lines += report.comparison(words_too=report_count > 0)
    for title, results in report.picked(report_count).items():
        for result in results:
            lines += [
                f"{title}: WER: {result.wer:.6f}, CER: {result.cer:.6f}, wav: {result.wav_filename}",
                f' - src: "{result.reference}"',
                f' - res: "{result.hypothesis}"',
            ]
    return "\n".join(lines)
