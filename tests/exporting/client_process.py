"""Loads a deployed client's C library and uses a model with it; run in a process of its own, for it may crash.

    python client_process.py LIBRARY PREFIX '{"model": ..., "audio": ..., "scorer": ..., "hot_words": {...}}'

PREFIX is DS (deepspeech 0.9.3) or STT (stt 1.4.0); `audio` is a file of raw 16-bit samples. Prints JSON.

With "cases" it decodes each of them instead, on silence, for models that answer with chosen probabilities:

    {"model": ..., "num_samples": ..., "beam_width": ..., "scorer": ..., "alpha": ..., "beta": ..., "hot_words": {...},
     "num_results": ..., "pieces": [...]}
"""

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np

PIECE_SAMPLES = 1000  # what the streaming calls are fed with, no multiple of a window or a step


class Token(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p), ("timestep", ctypes.c_uint), ("start_time", ctypes.c_float))


class Transcript(ctypes.Structure):
    _fields_ = (("tokens", ctypes.POINTER(Token)), ("num_tokens", ctypes.c_uint), ("confidence", ctypes.c_double))


class Metadata(ctypes.Structure):
    _fields_ = (("transcripts", ctypes.POINTER(Transcript)), ("num_transcripts", ctypes.c_uint))


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

    def add_hot_word(self, word: str, boost: float) -> int:
        return self._call("AddHotWord", self._model, word.encode(), ctypes.c_float(boost))

    def whole(self, audio: np.ndarray) -> str:
        return self._text("SpeechToText", self._model, audio.ctypes.data_as(ctypes.c_void_p), len(audio))

    def streamed(self, audio: np.ndarray) -> str:
        stream = ctypes.c_void_p()
        assert self._call("CreateStream", self._model, ctypes.byref(stream)) == 0
        for start in range(0, len(audio), PIECE_SAMPLES):
            piece = np.ascontiguousarray(audio[start : start + PIECE_SAMPLES])
            self._call("FeedAudioContent", stream, piece.ctypes.data_as(ctypes.c_void_p), len(piece), returns=None)
        return self._text("FinishStream", stream)

    def decode(self, case: dict) -> dict:
        """Candidates and interim texts of one case; the time that the search took, measured by feeding."""
        started = time.process_time()
        assert self.create(case["model"]) == 0
        if case.get("scorer"):
            assert self.enable_scorer(case["scorer"]) == 0
            alpha, beta = ctypes.c_float(case["alpha"]), ctypes.c_float(case["beta"])
            assert self._call("SetScorerAlphaBeta", self._model, alpha, beta) == 0
            for word, boost in case.get("hot_words", {}).items():
                assert self.add_hot_word(word, boost) == 0
        assert self._call("SetModelBeamWidth", self._model, ctypes.c_uint(case["beam_width"])) == 0
        silence = np.zeros(case["num_samples"], np.int16)
        stream, interim = ctypes.c_void_p(), []
        assert self._call("CreateStream", self._model, ctypes.byref(stream)) == 0
        loaded, start = time.process_time(), 0
        for length in case.get("pieces") or [len(silence)]:
            piece = silence[start : start + length]
            start += length
            self._call("FeedAudioContent", stream, piece.ctypes.data_as(ctypes.c_void_p), len(piece), returns=None)
            if case.get("pieces"):
                interim.append(self._raw_text("IntermediateDecode", stream))
        found = self._call(
            "FinishStreamWithMetadata", stream, ctypes.c_uint(case["num_results"]), returns=ctypes.POINTER(Metadata)
        )
        decoded = time.process_time()
        candidates = []
        for number in range(found.contents.num_transcripts):
            transcript = found.contents.transcripts[number]
            tokens = [transcript.tokens[place] for place in range(transcript.num_tokens)]
            candidates.append(
                {
                    "text": b"".join(token.text for token in tokens).decode("utf-8", "surrogateescape"),
                    "frames": [token.timestep for token in tokens],
                    "confidence": transcript.confidence,
                }
            )
        self._call("FreeMetadata", found, returns=None)
        self._call("FreeModel", self._model, returns=None)
        return {
            "candidates": candidates,
            "interim": interim,
            "load_s": loaded - started,
            "decode_s": decoded - loaded,
        }

    def _raw_text(self, name: str, *arguments) -> str:
        pointer = self._call(name, *arguments, returns=ctypes.c_void_p)
        text = ctypes.string_at(pointer).decode("utf-8", "surrogateescape")
        self._call("FreeString", ctypes.c_void_p(pointer), returns=None)
        return text


def main(library: str, prefix: str, wanted: str) -> None:
    work = json.loads(wanted)
    client = Client(Path(library), prefix)
    if "cases" in work:
        # The whole answer at once: the libraries write to stdout as well.
        print("\n" + json.dumps([client.decode(case) for case in json.loads(Path(work["cases"]).read_text())]))
        return
    said: dict = {"version": client.version(), "created": client.create(work["model"])}
    if said["created"] == 0:
        said["sample_rate"] = client.number("GetModelSampleRate")
        said["beam_width"] = client.number("GetModelBeamWidth")
        audio = np.fromfile(work["audio"], np.int16)
        said["whole"], said["streamed"] = client.whole(audio), client.streamed(audio)
        if work.get("scorer"):
            said["scorer"] = client.enable_scorer(work["scorer"])
            said["with_scorer"] = client.whole(audio)
            for word, boost in work.get("hot_words", {}).items():
                assert client.add_hot_word(word, boost) == 0
            said["with_hot_words"] = client.whole(audio)
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
