"""`deepspeech stream`: what is said into a microphone, as text in the terminal while it is said."""

import argparse
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.audio.live import Sound, from_file, from_stdin, microphone, microphones
from deepspeech_training.commands.beam_options import add_beam_options, beam_options
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.runtime.beam import BeamOptions
from deepspeech_training.runtime.event_json import as_message
from deepspeech_training.runtime.live_text import LiveText
from deepspeech_training.runtime.loading import load_model
from deepspeech_training.runtime.utterances import Endpointing, Session, transcribe
from deepspeech_training.training.interrupt import Interrupted

KEY_VARIABLE = "DEEPSPEECH_API_KEY"
Messages = Callable[[Sound], Iterator[dict[str, Any]]]
_AHEAD = 1000  # messages that wait to be shown
_LAST_WORDS_S = 20.0


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Recognise speech while it is spoken, with an exported model or by a running `deepspeech serve`.",
        allow_abbrev=False,
        epilog="Example: deepspeech stream --model model.tflite --scorer english.scorer (Ctrl-C ends it)",
    )
    parser.add_argument(
        "audio",
        nargs="?",
        metavar="AUDIO",
        help="a recording of any format; -: raw samples of 16 bits from stdin. Default: the microphone",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--model", metavar="FILE", help="the exported model, a .tflite")
    where.add_argument(
        "--server",
        metavar="URL",
        help="a running `deepspeech serve` instead: ws://127.0.0.1:8000, or wss://HOST/v1/stream?model=NAME; with "
        "its own scorer",
    )
    add_beam_options(parser)
    parser.add_argument("--key_file", metavar="FILE", help=f"holds the server's key; default: ${KEY_VARIABLE}, if set")
    parser.add_argument("--json", action="store_true", help="print everything that happens, a line of JSON each")
    parser.add_argument("--realtime", action="store_true", help="take a recording no faster than it was spoken")
    parser.add_argument("--device", metavar="NAME", help="the microphone: its number, or a part of its name")
    parser.add_argument("--list_devices", action="store_true", help="print the microphones, and do nothing else")
    parser.add_argument(
        "--rate", type=int, default=16000, metavar="HZ", help="of the samples on stdin (default %(default)s)"
    )
    parser.add_argument(
        "--channels", type=int, default=1, metavar="N", help="of the samples on stdin (default %(default)s)"
    )
    default = Endpointing()
    parser.add_argument(
        "--hangover_s",
        type=float,
        default=default.hangover_s,
        metavar="S",
        help="a sentence ends when it is silent for so long (default %(default)s)",
    )
    parser.add_argument(
        "--max_s",
        type=float,
        default=default.max_s,
        metavar="S",
        help="a sentence is at most so long (default %(default)s)",
    )
    parser.add_argument(
        "--vad",
        type=int,
        choices=range(4),
        default=default.aggressiveness,
        metavar="0-3",
        help="how much is taken for silence: 3 the most (default %(default)s)",
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    if flags.list_devices:
        print("\n".join(microphones()) or "There is no microphone.")
        return
    beam = _checked(flags)
    messages = _of_server(flags, beam) if flags.server else _of_model(flags, beam, console)
    live = LiveText(sys.stdout, as_json=flags.json)
    stop = threading.Event()
    with ExitStack() as resources:
        sound = _sound(flags, stop, resources)
        if flags.audio is None:
            console.info(f"Listening to {sound.name}; Ctrl-C ends it")
        try:
            _show_all(lambda: messages(sound), live.show, stop)
        finally:
            live.clear()


def _checked(flags: argparse.Namespace) -> BeamOptions:
    if not (flags.model or flags.server):
        raise FlagError("say what is to recognise: --model FILE, or --server URL of a running `deepspeech serve`")
    if flags.server and flags.scorer:
        raise FlagError("--scorer: the server has its own, and uses it")
    # The weights and hot words are checked as if there were a scorer: the server has one, or refuses them.
    beam = BeamOptions(None, flags.beam_width) if flags.server else beam_options(flags)
    for name, low, high in (("rate", 4000, 192_000), ("channels", 1, 8)):
        if not low <= getattr(flags, name) <= high:
            raise FlagError(f"--{name} {getattr(flags, name)}: it must be from {low} to {high}")
    try:
        _endpointing(flags)
    except ValueError as error:
        raise FlagError(f"--{error}") from None
    return beam


def _endpointing(flags: argparse.Namespace) -> Endpointing:
    return Endpointing(hangover_s=flags.hangover_s, max_s=flags.max_s, aggressiveness=flags.vad)


def _sound(flags: argparse.Namespace, stop: threading.Event, resources: ExitStack) -> Sound:
    if flags.audio is None:
        return resources.enter_context(microphone(flags.device, stop=stop))
    if flags.audio == "-":
        return from_stdin(sys.stdin.buffer, sample_rate=flags.rate, channels=flags.channels, stop=stop)
    return from_file(flags.audio, realtime=flags.realtime, stop=stop)


def _of_model(flags: argparse.Namespace, beam: BeamOptions, console: Console) -> Messages:
    model = load_model(flags.model, beam, console=console)
    settings, endpointing = beam.for_streams(), _endpointing(flags)
    silence = np.zeros(model.sampleRate(), np.int16)
    for _ in transcribe(model, silence, sample_rate=model.sampleRate(), settings=settings):
        pass  # what has to be compiled is, before anybody speaks

    def messages(sound: Sound) -> Iterator[dict[str, Any]]:
        session = Session(model, settings, endpointing, sample_rate=sound.sample_rate, channels=sound.channels)
        for block in sound.blocks:
            yield from map(as_message, session.feed(block))
        yield from map(as_message, session.finish())

    return messages


def _of_server(flags: argparse.Namespace, beam: BeamOptions) -> Messages:
    try:
        from deepspeech_training.serving.stream_client import recognised, stream_url
    except ModuleNotFoundError as error:
        if error.name != "websockets":
            raise
        raise UserError(
            "a server needs the package websockets\nInstall it: pip install 'deepspeech_training[serve]'"
        ) from None
    asked = {
        "beam_width": beam.beam_width,
        "alpha": flags.lm_alpha,
        "beta": flags.lm_beta,
        "hot_words": flags.hot_words,
        "hangover_s": flags.hangover_s,
        "max_s": flags.max_s,
        "aggressiveness": flags.vad,
        "words": 1 if flags.json else None,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    stream_url(flags.server, options)  # what is wrong with it is said at once
    key = _key(flags.key_file)

    def messages(sound: Sound) -> Iterator[dict[str, Any]]:
        url = stream_url(flags.server, {**options, "rate": sound.sample_rate, "channels": sound.channels})
        return recognised(url, sound.blocks, key=key)

    return messages


def _key(path: str | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    try:
        key = Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise FlagError(f"--key_file {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not key:
        raise FlagError(f"--key_file {path}: there is no key in it")
    return key[0]


def _show_all(
    messages: Callable[[], Iterator[dict[str, Any]]], show: Callable[[dict[str, Any]], None], stop: threading.Event
) -> None:
    """Make the messages in another thread and show them in this one, which gets the signals.

    Raises:
        Interrupted: a signal came; the last words are shown, unless another one followed.
    """
    made: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue(_AHEAD)

    def work() -> None:
        try:
            for message in messages():
                made.put(message)
            made.put(None)
        except BaseException as error:
            made.put(error)

    threading.Thread(target=work, daemon=True).start()
    interrupted: Interrupted | None = None
    while True:
        try:
            found = made.get(timeout=_LAST_WORDS_S if interrupted else None)
            if found is None:
                break
            if isinstance(found, BaseException):
                raise found
            show(found)
        except queue.Empty:
            break
        except Interrupted as error:
            if interrupted:
                raise
            interrupted = error
            stop.set()
    if interrupted:
        raise interrupted
