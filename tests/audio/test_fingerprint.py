"""Copies of a recording and others."""

import itertools

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.fingerprint import fingerprint, is_copy
from deepspeech_training.audio.synthetic_speech import synthesize


def int16(audio: np.ndarray) -> np.ndarray:
    return np.rint(audio * 32767).astype(np.int16)


@pytest.mark.parametrize("seed", range(12))
def test_a_copy_that_was_rounded_otherwise_is_one(seed, tmp_path):
    audio = 0.3 * synthesize("she had your dark suit", seed=seed)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, audio, 16000, subtype="PCM_16")
    first, second = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("a.wav", "a.flac"))
    assert fingerprint(first) == fingerprint(second) != "" and is_copy(first, second)
    other = int16(0.3 * synthesize("she had your dark suit", seed=seed + 100))[: len(first)]
    assert not is_copy(first, np.pad(other, (0, len(first) - len(other))))


def test_tones_of_other_pitches_are_no_copies():
    time_s = np.arange(16000) / 16000
    tones = [int16(0.2 * np.sin(2 * np.pi * pitch * time_s)) for pitch in range(200, 1200, 10)]
    assert len({fingerprint(tone) for tone in tones}) > 5
    assert not any(is_copy(first, second) for first, second in itertools.pairwise(tones))


def test_silence_and_clicks_have_no_fingerprint():
    assert fingerprint(np.zeros(16000, np.int16)) == "" == fingerprint(np.ones(20, np.int16))
    assert not is_copy(np.ones(20, np.int16), np.ones(21, np.int16))
