"""The command `transcribe`: audio files, folders of them and lists -> text, JSON or subtitles, on several processes."""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.audio.formats import EXAMPLES, is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.cli import (
    add_beam_options,
    check_beam_options,
    read_int16,
    set_up_beam,
    words,
)
from deepspeech_training.runtime.model import CandidateTranscript, Model
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.runtime.segments import split_at_silence
from deepspeech_training.runtime.subtitles import cues_of, to_srt, to_vtt

SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}
LONGEST_S = 20.0  # of a piece, unless --split tells; about the longest sentences that corpora are made of


@dataclass(frozen=True)
class Job:
    """One audio file, its name in the results, and the file to write (None: stdout)."""

    audio_path: str
    name: str
    output: Path | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 1 if any file could not be transcribed, though the others are."""
    flags = _parser().parse_args(argv)
    console = Console()
    try:
        if flags.proc < 1:
            raise FlagError(f"--proc {flags.proc}: it must be 1 or more")
        if not (flags.split == 0 or 1 <= flags.split < 86400):
            raise FlagError(f"--split {flags.split:g}: it must be 0 or a number of seconds, 1 or more")
        check_beam_options(flags)
        jobs = find_jobs(flags.paths, list_path=flags.list, output_dir=flags.output_dir, suffix=SUFFIXES[flags.format])
        if flags.format in ("srt", "vtt") and len(jobs) > 1 and not flags.output_dir:
            raise FlagError(f"--format {flags.format}: subtitles of {len(jobs):,} files need an --output_dir")
        with without_delegate_notice():
            # Its faults are reported once, before the processes start, and the beam search is compiled once.
            set_up_beam(Model(flags.model, num_threads=1), flags)
        left = [job for job in jobs if flags.force or job.output is None or not job.output.exists()]
        if len(left) < len(jobs):
            console.info(f"{len(jobs) - len(left):,} of {len(jobs):,} files have their result (--force: do them again)")
        failed = 0
        with console.progress("Transcribing", total=len(left), unit="files") as progress:
            for job, (text, fault) in zip(left, _results(flags, left), strict=True):
                progress.update()
                if fault is not None:
                    failed += 1
                    console.error(fault)
                elif job.output is None:
                    print(f"{job.name}\t{text}" if flags.format == "text" and len(jobs) > 1 else text, flush=True)
                else:
                    _write(job.output, text)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except BrokenPipeError:  # whoever read stdout has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_RUN
    except KeyboardInterrupt:
        return 130
    if failed:
        console.error(f"{failed:,} of {len(left):,} files could not be transcribed")
    return EXIT_RUN if failed else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="transcribe",
        description="Transcribe audio files with an exported model.",
        allow_abbrev=False,
        epilog="Example: bin/transcribe --model model.tflite --output_dir transcripts recordings/",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="audio files, and folders to look for them in")
    parser.add_argument("--list", metavar="FILE", help="a text file with one path on each line")
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument(
        "--format", choices=list(SUFFIXES), default="text", help="text, JSON with times of the words, or subtitles"
    )
    parser.add_argument(
        "--split",
        type=float,
        default=LONGEST_S,
        metavar="S",
        help="split recordings that are longer than S seconds at silences, into pieces of at most S seconds; "
        f"0: never (default {LONGEST_S:g})",
    )
    parser.add_argument(
        "--vad",
        type=int,
        choices=range(4),
        default=1,
        metavar="0-3",
        help="how much --split takes for silence: 3 the most (default 1)",
    )
    parser.add_argument(
        "--output_dir",
        metavar="DIR",
        help="one file for each audio file, with its folders; those that are there are passed over. Default: stdout",
    )
    add_beam_options(parser)
    parser.add_argument("--force", action="store_true", help="write results anew that are there")
    parser.add_argument(
        "--proc", type=int, default=usable_cores(), metavar="N", help="processes (default: one for each usable core)"
    )
    return parser


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
            found = sorted(p for p in path.rglob("*") if is_audio_name(p) and p.is_file())
            named = [(p, p.relative_to(path)) for p in found]
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


def _results(flags: argparse.Namespace, jobs: Sequence[Job]) -> Iterator[tuple[str, str | None]]:
    """(text, None) or ("", fault) of each job, in their order."""
    paths = [job.audio_path for job in jobs]
    if not paths:
        return
    num_processes = min(flags.proc, len(paths))
    # With fewer files than processes the pieces of a file share what is left.
    arguments = (flags, max(1, flags.proc // num_processes))
    if num_processes == 1:
        _load(*arguments)
        yield from map(_transcribe, paths)
        return
    # Spawned, not forked: LiteRT has threads, and a fork would keep only one of them.
    with ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), initializer=_load, initargs=arguments
    ) as pool:
        try:
            yield from pool.map(_transcribe, paths)
        except BrokenProcessPool as error:
            raise UserError(
                "A process that transcribes has ended: out of memory?\nTry fewer processes with --proc."
            ) from error


@dataclass(frozen=True)
class _Worker:
    """What one process transcribes with."""

    model: Model
    format: str
    longest_s: float
    aggressiveness: int
    threads: ThreadPoolExecutor


_worker: _Worker  # one for each process


def _load(flags: argparse.Namespace, num_threads: int) -> None:
    global _worker
    with without_delegate_notice():
        model = Model(flags.model, num_threads=num_threads)
    set_up_beam(model, flags)
    _worker = _Worker(model, flags.format, flags.split, flags.vad, ThreadPoolExecutor(num_threads))


def _transcribe(audio_path: str) -> tuple[str, str | None]:
    model, rate = _worker.model, _worker.model.sampleRate()
    try:
        audio = read_int16(audio_path, sample_rate=rate, console=Console())
    except UserError as error:
        return "", str(error).splitlines()[0]
    pieces = [(0, len(audio))]
    if 0 < _worker.longest_s * rate < len(audio):
        pieces = split_at_silence(
            audio, sample_rate=rate, longest_s=_worker.longest_s, aggressiveness=_worker.aggressiveness
        )
    candidates = _worker.threads.map(lambda piece: model.sttWithMetadata(audio[slice(*piece)]).transcripts[0], pieces)
    segments = [
        _segment(candidate, start / rate, end / rate)
        for candidate, (start, end) in zip(candidates, pieces, strict=True)
    ]
    return _formatted(audio_path, segments), None


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


def _formatted(audio_path: str, segments: list[dict]) -> str:
    if _worker.format == "text":
        return " ".join(segment["text"] for segment in segments if segment["text"])
    spoken = [word for segment in segments for word in segment["words"]]
    if _worker.format == "json":
        whole = {"confidence": sum(segment["confidence"] for segment in segments), "words": spoken}
        parts = [{k: v for k, v in segment.items() if k != "words"} for segment in segments]
        return json.dumps({"audio": audio_path, "transcripts": [whole], "segments": parts}, ensure_ascii=False)
    return (to_srt if _worker.format == "srt" else to_vtt)(cues_of(spoken)).rstrip("\n")


def _write(path: Path, text: str) -> None:
    """Atomically: a result that is there is whole, which is what resuming relies on."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write the result: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
