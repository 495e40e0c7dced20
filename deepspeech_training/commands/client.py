"""`deepspeech --model FILE --audio FILE`: one audio file to text, with the options of DeepSpeech 0.9.3's client."""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from deepspeech_training.commands.beam_options import add_beam_options, beam_options
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.runtime.loading import load_model, read_int16
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.words import to_json
from deepspeech_training.version import VERSION

STREAM_MULTIPLE = 160


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Transcribe an audio file with an exported model.",
        allow_abbrev=False,
        epilog="Example: deepspeech --model model.tflite --audio clip.flac --json",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument(
        "--audio", required=True, metavar="FILE", help="WAV, FLAC, Ogg Vorbis, Opus or MP3; any rate and channels"
    )
    add_beam_options(parser)
    parser.add_argument("--extended", action="store_true", help="print the text from the metadata (the same text)")
    parser.add_argument("--json", action="store_true", help="print confidence and the times of the words as JSON")
    parser.add_argument(
        "--candidate_transcripts",
        type=int,
        metavar="N",
        help="the most candidates in the JSON (default 3; decoding greedily there is one); given, it takes a beam",
    )
    streaming = parser.add_mutually_exclusive_group()
    for name, what in (("--stream", ""), ("--extended_stream", ", from the metadata")):
        streaming.add_argument(
            name,
            type=int,
            default=0,
            metavar="N",
            help=f"feed N samples at a time (a multiple of {STREAM_MULTIPLE}) and print each new text{what}; "
            "0: the whole file at once",
        )
    parser.add_argument("-t", action="store_true", help="say on stderr how much CPU time the transcription took")
    parser.add_argument("--version", action="version", version=f"deepspeech_training {VERSION}")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    beam = beam_options(flags)
    _check(flags)
    candidates = (flags.candidate_transcripts or 1) if flags.json else 1
    model = load_model(flags.model, beam, candidates=candidates, console=console)
    audio = read_int16(flags.audio, sample_rate=model.sampleRate(), console=console)
    started = time.process_time()
    for line in _transcribe(model, audio, flags):
        print(line, flush=True)
    if flags.t:
        console.info(f"cpu_time_overall={time.process_time() - started:.5f}")


def _check(flags: argparse.Namespace) -> None:
    if flags.candidate_transcripts is not None and flags.candidate_transcripts < 1:
        raise FlagError(f"--candidate_transcripts {flags.candidate_transcripts}: it must be 1 or more")
    for name in ("stream", "extended_stream"):
        size = getattr(flags, name)
        if size < 0 or size % STREAM_MULTIPLE:
            raise FlagError(f"--{name} {size}: it must be a multiple of {STREAM_MULTIPLE} samples")
        if size and flags.json:
            raise FlagError(f"--json and --{name} exclude each other: JSON is one answer at the end")


def _transcribe(model: Model, audio: np.ndarray, flags: argparse.Namespace) -> Iterator[str]:
    if flags.json:
        yield to_json(model.sttWithMetadata(audio, flags.candidate_transcripts or 3))
    elif flags.extended:
        yield model.sttWithMetadata(audio).transcripts[0].text
    elif size := flags.stream or flags.extended_stream:
        yield from _stream(model, audio, size, extended=bool(flags.extended_stream))
    else:
        yield model.stt(audio)


def _stream(model: Model, audio: np.ndarray, size: int, *, extended: bool) -> Iterator[str]:
    last = ""
    with model.createStream() as stream:
        for start in range(0, len(audio), size):
            stream.feedAudioContent(audio[start : start + size])
            if extended:
                text = stream.intermediateDecodeWithMetadata().transcripts[0].text
            else:
                text = stream.intermediateDecode()
            if text != last:
                yield text
                last = text
        yield stream.finishStreamWithMetadata().transcripts[0].text if extended else stream.finishStream()
