"""Audio files, folders of them and lists -> text, JSON or subtitles, on several processes."""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.audio.formats import EXAMPLES, is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError
from deepspeech_training.runtime.beam import BeamOptions
from deepspeech_training.runtime.loading import load_model, read_int16
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.segments import split_at_silence
from deepspeech_training.runtime.stream import CandidateTranscript
from deepspeech_training.runtime.subtitles import cues_of, to_srt, to_vtt
from deepspeech_training.runtime.words import words

SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}
LONGEST_S = 20.0  # of a piece, unless --split tells; about the longest sentences that corpora are made of


@dataclass(frozen=True)
class Job:
    """One audio file, its name in the results, and the file to write (None: stdout)."""

    audio_path: str
    name: str
    output: Path | None


@dataclass(frozen=True)
class Settings:
    """How recordings are transcribed.

    Args:
        model_path: the exported model.
        format: of the results, one of `SUFFIXES`.
        longest_s: longer recordings are split at silences, into pieces of at most so many seconds; 0: never.
        aggressiveness: how much is taken for silence then, from 0 to 3.
    """

    model_path: str
    beam: BeamOptions
    format: str = "text"
    longest_s: float = LONGEST_S
    aggressiveness: int = 1


def find_jobs(paths: Sequence[str], *, list_path: str | None, output_dir: str | None, suffix: str) -> list[Job]:
    """The audio files of files, folders and a list, each once, in their order; folders in the order of names.

    Raises:
        UserError: there is none, a path does not exist, or two would have the same result file.
    """
    paths = list(paths)
    if list_path is not None:
        try:
            paths += [line for line in Path(list_path).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--list {list_path}: cannot read it: {getattr(error, 'strerror', None) or error}"
            ) from error
    jobs: dict[str, Job] = {}
    of_output: dict[Path, str] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            named = [(path / name, Path(name)) for name in sorted(names_below(path, is_audio_name))]
        elif path.exists():
            named = [(path, Path(path.name))]
        else:
            raise UserError(f"{text}: there is no such file or folder")
        for audio_path, name in named:
            key = str(audio_path.resolve())
            if key in jobs:
                continue
            output = Path(output_dir, f"{name}{suffix}") if output_dir else None
            if output is not None and of_output.setdefault(output, key) != key:
                raise UserError(
                    f"{of_output[output]} and {key} would both be written to {output}\nTranscribe them one by one."
                )
            jobs[key] = Job(str(audio_path), str(audio_path), output)
    if not jobs:
        raise UserError(f"no audio files to transcribe (looked for {EXAMPLES})")
    return list(jobs.values())


def transcribe(paths: Sequence[str], settings: Settings, *, processes: int) -> Iterator[tuple[str, str | None]]:
    """(text, None) or ("", fault) of each audio file, in their order.

    Raises:
        UserError: a process has ended.
    """
    if not paths:
        return
    num_processes = min(processes, len(paths))
    # With fewer files than processes the pieces of a file share what is left.
    arguments = (settings, max(1, processes // num_processes))
    if num_processes == 1:
        _load(*arguments)
        yield from map(_transcribe, paths)
        return
    left = list(paths)
    while left:
        with _processes(num_processes, arguments) as pool:
            for result in _until_one_ends(pool, left):
                yield result
                del left[0]
        # A process has ended. Alone, each of the files that were at work tells whether it was that one's fault.
        alone = [_transcribe_alone(path, arguments) for path in left[:num_processes]]
        if alone and not any(alone):
            raise UserError("Processes that transcribe end: out of memory?\nTry fewer processes with --proc.")
        for each in alone:
            yield each or ("", f"{left[0]}: the process that transcribed it has ended: out of memory?")
            del left[0]


def _processes(number: int, arguments: tuple[Settings, int]) -> ProcessPoolExecutor:
    # Spawned, not forked: LiteRT has threads, and a fork would keep only one of them.
    return ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), initializer=_load, initargs=arguments)


def _until_one_ends(pool: ProcessPoolExecutor, paths: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """The results, in their order, until a process ends that should not."""
    with suppress(BrokenProcessPool):
        yield from pool.map(_transcribe, list(paths))


def _transcribe_alone(path: str, arguments: tuple[Settings, int]) -> tuple[str, str | None] | None:
    """None if the process ends."""
    with _processes(1, arguments) as pool:
        return next(_until_one_ends(pool, [path]), None)


@dataclass(frozen=True)
class _Worker:
    """What one process transcribes with."""

    model: Model
    settings: Settings
    threads: ThreadPoolExecutor


_worker: _Worker  # one for each process


def _load(settings: Settings, num_threads: int) -> None:
    global _worker
    model = load_model(settings.model_path, settings.beam, num_threads=num_threads)
    _worker = _Worker(model, settings, ThreadPoolExecutor(num_threads))


def _transcribe(audio_path: str) -> tuple[str, str | None]:
    try:
        return _text_of(audio_path), None
    except UserError as error:
        return "", str(error).splitlines()[0]
    except MemoryError:
        return "", f"{audio_path}: there is too little memory to transcribe it: try fewer processes with --proc"


def _text_of(audio_path: str) -> str:
    model, settings, rate = _worker.model, _worker.settings, _worker.model.sampleRate()
    audio = read_int16(audio_path, sample_rate=rate, console=Console())
    pieces = [(0, len(audio))]
    if 0 < settings.longest_s * rate < len(audio):
        pieces = split_at_silence(
            audio, sample_rate=rate, longest_s=settings.longest_s, aggressiveness=settings.aggressiveness
        )
    candidates = _worker.threads.map(lambda piece: model.sttWithMetadata(audio[slice(*piece)]).transcripts[0], pieces)
    segments = [
        _segment(candidate, start / rate, end / rate)
        for candidate, (start, end) in zip(candidates, pieces, strict=True)
    ]
    return _formatted(audio_path, segments, settings.format)


def _segment(candidate: CandidateTranscript, start_s: float, end_s: float) -> dict:
    """A piece and its words, with times from the start of the recording."""
    spoken = [{**word, "start_time": round(word["start_time"] + start_s, 4)} for word in words(candidate)]
    return {
        "start_time": round(start_s, 4),
        "end_time": round(end_s, 4),
        "confidence": candidate.confidence,
        "text": candidate.text,
        "words": spoken,
    }


def _formatted(audio_path: str, segments: list[dict], format: str) -> str:
    if format == "text":
        return " ".join(segment["text"] for segment in segments if segment["text"])
    spoken = [word for segment in segments for word in segment["words"]]
    if format == "json":
        whole = {"confidence": sum(segment["confidence"] for segment in segments), "words": spoken}
        parts = [{k: v for k, v in segment.items() if k != "words"} for segment in segments]
        return json.dumps({"audio": audio_path, "transcripts": [whole], "segments": parts}, ensure_ascii=False)
    return (to_srt if format == "srt" else to_vtt)(cues_of(spoken)).rstrip("\n")


def write(path: Path, text: str) -> None:
    """Atomically: a result that is there is whole, which is what resuming relies on."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write the result: {error.strerror}") from error
