"""What the test set was like when a model heard it: the profile that its card keeps, and that a service compares with.

Each clip is heard as the service hears a file, so that the figures mean the same in both.
"""

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.console import Console
from deepspeech_training.data.rows import read_rows
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.runtime.figures import Figures, Place
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.runtime.profile import Profile
from deepspeech_training.runtime.settings import StreamSettings
from deepspeech_training.runtime.stream import to_int16
from deepspeech_training.runtime.utterances import transcribe

MOST_CLIPS = 400  # taken evenly; more would make the index surer by little
CLIPS_PER_PROCESS = 20  # fewer are not worth the seconds in which it starts


def vocabulary_of(card: Mapping[str, Any]) -> frozenset[str] | None:
    """The words of the transcripts that a model was trained on; None without words, or where they cannot be read now.

    Args:
        card: of `ExportFiles.card`.
    """
    paths = [data["csv"] for data in card["data"] if data["set"] == "train"]
    if not paths or " " not in (card["model"]["alphabet"] or ()):  # of commands there is none
        return None
    try:
        return frozenset(word for path in paths for row in read_rows(path) for word in row.transcript.split())
    except UserError:
        return None


def measure_reference(
    model: Path,
    scorer: Path | None,
    csv_paths: Sequence[str],
    vocabulary: frozenset[str] | None,
    *,
    processes: int,
    console: Console,
) -> dict[str, Any] | None:
    """The profile of the clips of test sets, as a card has it; None without one that can be heard.

    Args:
        vocabulary: see `vocabulary_of`; with a scorer it says nothing, which writes the words of its own alone.
    Raises:
        UserError: a CSV or the model cannot be used.
    """
    paths = [
        str(Path(csv).parent / row.wav_filename) for csv in csv_paths for row in read_rows(csv) if row.fault is None
    ]
    step = max(1, len(paths) / MOST_CLIPS)
    chosen = [paths[int(place * step)] for place in range(min(len(paths), MOST_CLIPS))]
    set_up = partial(_load, model, scorer, None if scorer else vocabulary)
    heard: list[Sequence[Place]] = []
    with console.progress("What the test set is like, for watching the model", total=len(chosen), unit="clips") as bar:
        for found in _all_heard(chosen, set_up, min(processes, -(-len(chosen) // CLIPS_PER_PROCESS))):
            heard += found
            bar.update()
    return {"csv": list(csv_paths), **Profile.of(heard).as_json()} if heard else None


def _all_heard(paths: Sequence[str], set_up: partial[None], processes: int) -> Iterator[list[tuple[Place, ...]]]:
    if processes <= 1:
        set_up()
        yield from map(_hear, paths)
        return
    # Spawned, not forked: LiteRT has threads, and a fork would keep only one of them.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=set_up) as pool:
        try:
            yield from pool.map(_hear, paths, chunksize=4)
        except BrokenProcessPool as error:
            raise UserError(
                "A process that transcribes has ended: out of memory?\nTry fewer processes with --proc."
            ) from error


_model: Model  # one for each process
_settings: StreamSettings
_vocabulary: frozenset[str] | None


def _load(model: Path, scorer: Path | None, vocabulary: frozenset[str] | None) -> None:
    global _model, _settings, _vocabulary
    with without_delegate_notice():
        _model = Model(model, num_threads=1)
    _settings = StreamSettings(scorer=None if scorer is None else Scorer.read(scorer))
    _vocabulary = vocabulary


def _hear(path: str) -> list[tuple[Place, ...]]:
    """Where the utterances of a clip are counted; none of one that cannot be read, which the test has named."""
    try:
        audio = to_int16(read_audio(path, sample_rate=_model.sampleRate()))
    except AudioError:
        return []
    knows = None if _vocabulary is None else _vocabulary.__contains__
    places: list[tuple[Place, ...]] = []
    for _ in transcribe(
        _model,
        audio,
        sample_rate=_model.sampleRate(),
        settings=_settings,
        heard=lambda final, signal: places.append(Figures.of(final, signal, knows).places()),
    ):
        pass
    return places
