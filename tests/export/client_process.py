"""Loads a deployed client's C library and uses a model with it; run in a process of its own, for it may crash.

    python client_process.py LIBRARY PREFIX '{"model": ..., "audio": ..., "scorer": ...}'

PREFIX is DS (deepspeech 0.9.3) or STT (stt 1.4.0); `audio` is a file of raw 16-bit samples. Prints JSON.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

PIECE_SAMPLES = 1000  # what the streaming calls are fed with, no multiple of a window or a step


class Client:
    """The C API of the library, under the names of Python's."""

    def __init__(self, library: Path, prefix: str):
        kenlm = library.with_name("libkenlm.so")
        if kenlm.exists():
            ctypes.CDLL(str(kenlm), ctypes.RTLD_GLOBAL)
        self._library, self._prefix = ctypes.CDLL(str(library)), prefix
        self._model = ctypes.c_void_p()

    def _call(self, name: str, *arguments, returns=ctypes.c_int):
        function = getattr(self._library, f"{self._prefix}_{name}")
        function.restype = returns
        return function(*arguments)

    def _text(self, name: str, *arguments) -> str:
        pointer = self._call(name, *arguments, returns=ctypes.c_void_p)
        text = ctypes.string_at(pointer).decode()
        self._call("FreeString", ctypes.c_void_p(pointer), returns=None)
        return text

    def version(self) -> str:
        return self._text("Version")

    def create(self, model: str) -> int:
        return self._call("CreateModel", model.encode(), ctypes.byref(self._model))

    def number(self, name: str) -> int:
        return self._call(name, self._model)

    def enable_scorer(self, path: str) -> int:
        return self._call("EnableExternalScorer", self._model, path.encode())

    def whole(self, audio: np.ndarray) -> str:
        return self._text("SpeechToText", self._model, audio.ctypes.data_as(ctypes.c_void_p), len(audio))

    def streamed(self, audio: np.ndarray) -> str:
        stream = ctypes.c_void_p()
        assert self._call("CreateStream", self._model, ctypes.byref(stream)) == 0
        for start in range(0, len(audio), PIECE_SAMPLES):
            piece = np.ascontiguousarray(audio[start : start + PIECE_SAMPLES])
            self._call("FeedAudioContent", stream, piece.ctypes.data_as(ctypes.c_void_p), len(piece), returns=None)
        return self._text("FinishStream", stream)


def main(library: str, prefix: str, wanted: str) -> None:
    work = json.loads(wanted)
    client = Client(Path(library), prefix)
    said: dict = {"version": client.version(), "created": client.create(work["model"])}
    if said["created"] == 0:
        said["sample_rate"] = client.number("GetModelSampleRate")
        said["beam_width"] = client.number("GetModelBeamWidth")
        audio = np.fromfile(work["audio"], np.int16)
        said["whole"], said["streamed"] = client.whole(audio), client.streamed(audio)
        if work.get("scorer"):
            said["scorer"] = client.enable_scorer(work["scorer"])
            said["with_scorer"] = client.whole(audio)
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
