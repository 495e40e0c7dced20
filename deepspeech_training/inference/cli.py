"""The command `deepspeech`: one audio file -> its text on stdout, with the options of DeepSpeech's own client."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from deepspeech_training.audio import AudioError, read_audio, read_audio_info
from deepspeech_training.console import Console, stderr_without
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.inference.model import CandidateTranscript, Metadata, Model
from deepspeech_training.version import VERSION

STREAM_MULTIPLE = 160
NEED_THE_BEAM = ("scorer", "lm_alpha", "lm_beta", "hot_words")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 where it failed, 2 for wrong options (argparse exits with it)."""
    flags = _parser().parse_args(argv)
    console = Console()
    try:
        _check(flags)
        with without_delegate_notice():
            model = Model(flags.model, num_threads=1)
        if flags.beam_width is not None:
            model.setBeamWidth(flags.beam_width)
        audio = read_int16(flags.audio, sample_rate=model.sampleRate(), console=console)
        started = time.process_time()
        for line in _transcribe(model, audio, flags):
            print(line, flush=True)
        if flags.t:
            console.info(f"cpu_time_overall={time.process_time() - started:.5f}")
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except BrokenPipeError:  # whoever read stdout has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_RUN
    except KeyboardInterrupt:
        return 130
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepspeech", description="Transcribe an audio file with an exported model.", allow_abbrev=False,
        epilog="Example: deepspeech --model model.tflite --audio clip.flac --json",
    )  # fmt: skip
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument(
        "--audio", required=True, metavar="FILE", help="WAV, FLAC, Ogg Vorbis, Opus or MP3; any rate and channels"
    )
    parser.add_argument("--beam_width", type=int, metavar="N", help="beam width; greedy decoding has no use for it")
    parser.add_argument("--extended", action="store_true", help="print the text from the metadata (the same text)")
    parser.add_argument("--json", action="store_true", help="print confidence and the times of the words as JSON")
    parser.add_argument(
        "--candidate_transcripts", type=int, default=3, metavar="N",
        help="the most candidates in the JSON (default 3); decoding greedily there is one",
    )  # fmt: skip
    streaming = parser.add_mutually_exclusive_group()
    for name, what in (("--stream", ""), ("--extended_stream", ", from the metadata")):
        streaming.add_argument(
            name, type=int, default=0, metavar="N",
            help=f"feed N samples at a time (a multiple of {STREAM_MULTIPLE}) and print each new text{what}; "
            "0: the whole file at once",
        )  # fmt: skip
    for name in NEED_THE_BEAM:
        parser.add_argument(f"--{name}", metavar="X", help="refused: comes with the beam decoder")
    parser.add_argument("-t", action="store_true", help="say on stderr how much CPU time the transcription took")
    parser.add_argument("--version", action="version", version=f"deepspeech_training {VERSION}")
    return parser


def _check(flags: argparse.Namespace) -> None:
    for name in NEED_THE_BEAM:
        if getattr(flags, name) is not None:
            raise FlagError(
                f"--{name} comes with the beam decoder; this version decodes greedily, without scorer and hot words\n"
                f"Leave --{name} out."
            )
    for name in ("beam_width", "candidate_transcripts"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise FlagError(f"--{name} {value}: it must be 1 or more")
    for name in ("stream", "extended_stream"):
        size = getattr(flags, name)
        if size < 0 or size % STREAM_MULTIPLE:
            raise FlagError(f"--{name} {size}: it must be a multiple of {STREAM_MULTIPLE} samples")
        if size and flags.json:
            raise FlagError(f"--json and --{name} exclude each other: JSON is one answer at the end")


def _transcribe(model: Model, audio: np.ndarray, flags: argparse.Namespace) -> Iterator[str]:
    if flags.json:
        yield to_json(model.sttWithMetadata(audio, flags.candidate_transcripts))
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


def read_int16(path: str, *, sample_rate: int, console: Console) -> np.ndarray:
    """Read any audio file as a model takes it: int16, mono, at its rate; a change of rate is said on the console.

    Raises:
        UserError: the file cannot be used as audio.
    """
    try:
        info = read_audio_info(path)
        audio = read_audio(path, sample_rate=sample_rate)
    except AudioError as error:
        if error.reason == "it holds no audio":  # a whole file without a sample has an empty text
            return np.zeros(0, np.int16)
        raise UserError(f"{path}: {error}\nGive --audio a WAV, FLAC, Ogg Vorbis, Opus or MP3 file.") from error
    if info.sample_rate != sample_rate:
        console.warn(f"{path}: resampled from {info.sample_rate} Hz to the model's {sample_rate} Hz")
    return np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)


def to_json(metadata: Metadata) -> str:
    """The JSON of DeepSpeech's client."""
    transcripts = [
        {"confidence": transcript.confidence, "words": words(transcript)} for transcript in metadata.transcripts
    ]
    return json.dumps({"transcripts": transcripts}, indent=2, ensure_ascii=False)


def words(transcript: CandidateTranscript) -> list[dict[str, str | float]]:
    """Words with `start_time` and `duration` in seconds: from their first character to the space after them.

    The last word ends where its last character begins, as in DeepSpeech's client.
    """
    found, word, start_s = [], "", 0.0
    for index, token in enumerate(transcript.tokens):
        if token.text != " ":
            start_s = start_s if word else token.start_time
            word += token.text
        if word and (token.text == " " or index == len(transcript.tokens) - 1):
            found.append(
                {"word": word, "start_time": round(start_s, 4), "duration": round(token.start_time - start_s, 4)}
            )
            word = ""
    return found


def without_delegate_notice() -> AbstractContextManager[None]:
    """Keep LiteRT's "Created ... delegate" off stderr; for the commands alone."""
    return stderr_without("XNNPACK delegate")


if __name__ == "__main__":
    sys.exit(main())
