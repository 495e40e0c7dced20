#!/usr/bin/env python3
"""What each augmentation costs, in clips a second.

    python benchmarks/augment.py
    python benchmarks/augment.py --seconds 4 --clips 64

Clips are synthetic speech, and the time is the processor's, or by the clock where there is a GPU. Those of waveforms
run on one thread, the others in a compiled step of the features, and their time is what they add to it.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import soundfile
import tensorflow as tf

from deepspeech_training.audio.synthetic_speech import synthesize_seconds
from deepspeech_training.augment.augmenter import Augmenter, StepDraws
from deepspeech_training.augment.catalogue import AUGMENTATIONS, parse_augmentations
from deepspeech_training.augment.spectrogram import StepAugmenter
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_keras import mfcc

GEOMETRY = FeatureGeometry()


def texts(folder: Path) -> list[str]:
    """Every augmentation in every domain, with its defaults."""
    found = []
    for name, kind in AUGMENTATIONS.items():
        source = [f"source={folder}"] if "source" in kind.parameters else []
        for domain in kind.domains:
            found.append(f"{name}[{','.join([*source, *([f'domain={domain}'] if len(kind.domains) > 1 else [])])}]")
    return [*found, "codec[codec=mp3,bitrate=16000]", "noise[slope=-3]"]


def seconds_of(work, rounds: int) -> float:
    """The median time; of the processor, which other programs do not change, unless a GPU does the work."""
    clock = time.perf_counter if tf.config.list_physical_devices("GPU") else time.process_time
    work()
    times = []
    for _ in range(rounds):
        started = clock()
        work()
        times.append(clock() - started)
    return statistics.median(times)


def step_of(augmentations):
    """The features as a compiled function of (audio, num_samples, draws)."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None]),
            tf.TensorSpec([None], tf.int32),
            StepDraws(tf.TensorSpec([None], tf.uint32), tf.TensorSpec([None]), tf.TensorSpec([None], tf.int32)),
        ]
    )
    def step(audio, num_samples, draws):
        augmenter = StepAugmenter(augmentations, GEOMETRY, draws) if augmentations else None
        return mfcc(audio, num_samples, GEOMETRY, augmenter=augmenter)[0]

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=32, help="in a batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a clip")
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many")
    options = parser.parse_args()
    speech = [synthesize_seconds(options.seconds, seed=k)[0].astype(np.float32) for k in range(options.clips)]
    print(f"{options.clips} clips of {options.seconds:g} s; {len(tf.config.list_physical_devices('GPU'))} GPUs")
    print(f"{'':52}{'ms/clip':>10}{'clips/s':>10}")
    with tempfile.TemporaryDirectory() as name:
        for number in range(4):
            soundfile.write(Path(name) / f"{number}.wav", speech[number][: 16000 + 4000 * number], 16000)
        plain = None
        for text in texts(Path(name)):
            augmenter = Augmenter(parse_augmentations([text]), GEOMETRY, seed=1)

            def augment(augmenter=augmenter):
                return [
                    augmenter(f"{k}", audio, needed_frames=10, epoch=0, clock=0.5) for k, audio in enumerate(speech)
                ]

            if augmenter.in_the_step:
                waveforms, draws = zip(*augment(), strict=True)
                lengths = np.full(len(speech), len(speech[0]), np.int32)
                arguments = tf.nest.map_structure(tf.constant, (np.stack(waveforms), lengths, StepDraws.batch(draws)))
                if plain is None:
                    features = step_of(())
                    plain = seconds_of(lambda: features(*arguments).numpy(), 4 * options.rounds)  # noqa: B023
                step = step_of(augmenter.in_the_step)
                taken = seconds_of(lambda: step(*arguments).numpy(), options.rounds) - plain  # noqa: B023
            else:
                taken = seconds_of(augment, options.rounds)
            each = max(taken, 1e-7) / options.clips
            figures = f"{1000 * each:>10.3f}{1 / each:>10,.0f}" if each > 1e-5 else f"{'below 0.01':>10}"
            print(f"{text.replace(name, 'DIR'):52}{figures}", flush=True)
    print(f"{'(the features themselves)':52}{1000 * plain / options.clips:>10.3f}{options.clips / plain:>10,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
