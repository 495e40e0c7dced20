"""Takes to send: WAVs as the page makes them, of synthetic speech in a quiet room."""

import functools

import numpy as np

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.studio.corpus import as_wav

RATE = 16000


def spoken(
    text: str = "turn on the light", *, before_s: float = 0.4, after_s: float = 0.4, seed: int = 1
) -> np.ndarray:
    """int16 [samples] of somebody who speaks at a good level."""
    voice = synthesize(text, seed=seed)
    voice = 0.5 * voice / np.abs(voice).max()
    parts = [np.zeros(round(before_s * RATE)), voice, np.zeros(round(after_s * RATE))]
    audio = np.concatenate(parts) + np.random.default_rng(seed).normal(0, 0.0003, sum(map(len, parts)))
    return np.round(audio * 32767).clip(-32768, 32767).astype(np.int16)


@functools.cache
def wav(text: str = "turn on the light", **how) -> bytes:
    return as_wav(spoken(text, **how), RATE)
