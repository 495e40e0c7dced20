"""`deepspeech detect`: the commands in recordings, in stdin or in what a microphone hears."""

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace

from deepspeech_training.audio.live import Sound, from_file, from_stdin, microphone
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.runtime.commands import CommandSession, SpokenCommandModel
from deepspeech_training.runtime.detection import Detection
from deepspeech_training.runtime.loading import read_int16
from deepspeech_training.runtime.network import without_delegate_notice


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Hear spoken commands with an exported model of --task spoken_command.",
        allow_abbrev=False,
        epilog="Example: deepspeech detect --model commands/output_graph.tflite living-room.wav",
    )
    parser.add_argument(
        "audio",
        nargs="*",
        metavar="AUDIO",
        help="recordings of any format; -: raw samples of 16 bits from stdin. Default: the microphone",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument(
        "--clips", action="store_true", help="each recording is one clip: print its class instead of what is in it"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="of the score at which a command counts as heard, 0 to 1 (default: what the export has, else 0.9)",
    )
    parser.add_argument(
        "--hold_off_s",
        type=float,
        metavar="S",
        help="hear nothing for so long after a command (default: as the export)",
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each command or clip")
    parser.add_argument("--device", metavar="NAME", help="the microphone: its number, or a part of its name")
    parser.add_argument(
        "--rate", type=int, default=16000, metavar="HZ", help="of the samples on stdin (default %(default)s)"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    for name, low, high in (("threshold", 0, 1), ("hold_off_s", 0, 60), ("rate", 4000, 192_000)):
        value = getattr(flags, name)
        if value is not None and not low <= value <= high:
            raise FlagError(f"--{name} {value:g}: it must be from {low} to {high:,}")
    if flags.clips and (not flags.audio or "-" in flags.audio):
        raise FlagError("--clips: name the recordings")
    if "-" in flags.audio and len(flags.audio) > 1:
        raise FlagError("-: stdin is one stream; give it alone")
    with without_delegate_notice():
        model = SpokenCommandModel(flags.model, num_threads=1)
    rule = model.rule
    if flags.threshold is not None:
        rule = replace(rule, threshold=flags.threshold)
    if flags.hold_off_s is not None:
        rule = replace(rule, hold_off_s=flags.hold_off_s)
    model.rule = rule
    if flags.clips:
        for path in flags.audio:
            best = model.classify(read_int16(path, sample_rate=model.sample_rate, console=console))[0]
            print(_line(flags, path, best.label, best.score), flush=True)
        return
    stop = threading.Event()
    with ExitStack() as resources:
        for path in flags.audio or [None]:
            sound = _sound(path, flags, stop, resources)
            if path is None:
                console.info(f"Listening to {sound.name} for {', '.join(model.commands)}; Ctrl-C ends it")
            for found in detections(model, sound):
                name = sound.name if len(flags.audio) > 1 else ""
                print(_found_line(found, name, as_json=flags.json), flush=True)


def _found_line(found: Detection, name: str, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({**({"audio": name} if name else {}), **asdict(found)}, ensure_ascii=False)
    return (f"{name}\t" if name else "") + f"{found.time_s:.2f}\t{found.label}\t{found.score:.4f}"


def _line(flags: argparse.Namespace, path: str, label: str, score: float) -> str:
    if flags.json:
        return json.dumps({"audio": path, "label": label, "score": score}, ensure_ascii=False)
    return f"{path}\t{label}\t{score:.4f}" if len(flags.audio) > 1 else f"{label}\t{score:.4f}"


def _sound(path: str | None, flags: argparse.Namespace, stop: threading.Event, resources: ExitStack) -> Sound:
    if path is None:
        return resources.enter_context(microphone(flags.device, stop=stop))
    if path == "-":
        return from_stdin(sys.stdin.buffer, sample_rate=flags.rate, channels=1, stop=stop)
    return from_file(path, realtime=False, stop=stop)


def detections(model: SpokenCommandModel, sound: Sound) -> Iterator[Detection]:
    """The commands in a sound, as soon as they are heard."""
    session = CommandSession(model, sample_rate=sound.sample_rate, channels=sound.channels)
    for block in sound.blocks:
        yield from session.feed(block)
    yield from session.finish()
