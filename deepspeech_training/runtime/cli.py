"""The command `deepspeech`: one audio file -> its text on stdout, with the options of DeepSpeech's own client."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio, read_audio_info
from deepspeech_training.console import Console
from deepspeech_training.decoding.beam import LARGEST_BEAM
from deepspeech_training.decoding.scorer import check_weight
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.runtime.model import CandidateTranscript, Metadata, Model, to_int16
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.version import VERSION

STREAM_MULTIPLE = 160


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 where it failed, 2 for wrong options (argparse exits with it)."""
    flags = _parser().parse_args(argv)
    console = Console()
    try:
        _check(flags)
        with without_delegate_notice():
            model = Model(flags.model, num_threads=1)
        set_up_beam(model, flags, candidates=flags.candidate_transcripts if flags.json else 1)
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
        prog="deepspeech",
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


def _check(flags: argparse.Namespace) -> None:
    check_beam_options(flags)
    if flags.candidate_transcripts is not None and flags.candidate_transcripts < 1:
        raise FlagError(f"--candidate_transcripts {flags.candidate_transcripts}: it must be 1 or more")
    for name in ("stream", "extended_stream"):
        size = getattr(flags, name)
        if size < 0 or size % STREAM_MULTIPLE:
            raise FlagError(f"--{name} {size}: it must be a multiple of {STREAM_MULTIPLE} samples")
        if size and flags.json:
            raise FlagError(f"--json and --{name} exclude each other: JSON is one answer at the end")


def add_beam_options(parser: argparse.ArgumentParser) -> None:
    """The options of all commands that decode: scorer, its weights, hot words, beam width."""
    parser.add_argument(
        "--scorer", metavar="FILE", help="a .scorer, the language model and dictionary to decode with (docs/scorer.md)"
    )
    parser.add_argument(
        "--beam_width",
        type=int,
        metavar="N",
        help="hypotheses that are kept; default: with a scorer the one of the export, without one decoding is greedy, "
        "which 0 asks for too",
    )
    parser.add_argument("--lm_alpha", type=float, metavar="X", help="weight of the language model (default: scorer's)")
    parser.add_argument(
        "--lm_beta", type=float, metavar="X", help="what each word adds to the score (default: scorer's)"
    )
    parser.add_argument(
        "--hot_words", metavar="WORD:BOOST,...", help="words that are likelier than the scorer says: coffee:7.5,tea:5"
    )


def check_beam_options(flags: argparse.Namespace) -> None:
    """Find faults in the options of `add_beam_options` before a model is loaded.

    Raises:
        FlagError: a value is out of bounds, or needs a scorer.
    """
    if flags.beam_width is not None and not 0 <= flags.beam_width <= LARGEST_BEAM:
        raise FlagError(f"--beam_width {flags.beam_width}: it must be from 0 (greedy) to {LARGEST_BEAM}")
    if flags.scorer is None:
        for name in ("lm_alpha", "lm_beta", "hot_words"):
            if getattr(flags, name) is not None:
                raise FlagError(f"--{name} needs --scorer: it changes what a scorer does")
    elif flags.beam_width == 0:
        raise FlagError("--beam_width 0 decodes greedily, which has no use for --scorer: leave one of them out")
    try:
        for name in ("lm_alpha", "lm_beta"):
            check_weight(f"--{name}", getattr(flags, name) or 0.0)
        hot_words(flags)
    except ValueError as error:
        raise FlagError(str(error)) from None


def hot_words(flags: argparse.Namespace) -> dict[str, float]:
    """--hot_words as words and boosts.

    >>> hot_words(argparse.Namespace(hot_words="coffee:7.5,tea:-2"))
    {'coffee': 7.5, 'tea': -2.0}
    """
    found: dict[str, float] = {}
    for part in (flags.hot_words or "").split(",") if flags.hot_words is not None else ():
        word, colon, boost = part.rpartition(":")
        try:
            if not colon or not word.strip():
                raise ValueError
            number = float(boost)
        except ValueError:
            raise ValueError(f"--hot_words {part!r}: it must be a word, a colon and a number") from None
        if word.strip() in found:
            raise ValueError(f"--hot_words: {word.strip()!r} is given twice")
        found[word.strip()] = check_weight(f"--hot_words {word.strip()}", number)
    return found


def set_up_beam(model: Model, flags: argparse.Namespace, *, candidates: int | None = None) -> None:
    """Do what the options of `add_beam_options` say; several candidates need a beam too.

    Raises:
        ScorerError: the scorer cannot be used with the model.
    """
    if flags.scorer is not None:
        model.enableExternalScorer(flags.scorer)
        if flags.lm_alpha is not None or flags.lm_beta is not None:
            alpha, beta = model.scorerAlphaBeta()
            model.setScorerAlphaBeta(
                alpha if flags.lm_alpha is None else flags.lm_alpha, beta if flags.lm_beta is None else flags.lm_beta
            )
        for word, boost in hot_words(flags).items():
            model.addHotWord(word, boost)
    if flags.beam_width is not None:
        model.setBeamWidth(flags.beam_width)
    elif (candidates or 1) > 1 and flags.scorer is None:
        model.setBeamWidth(model.beamWidth())


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
    return to_int16(audio)


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


if __name__ == "__main__":
    sys.exit(main())
