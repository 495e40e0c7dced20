#!/usr/bin/env python3
"""How fast training is here: loading, features and steps together, beside the machine's own matrix-product peak.

    python benchmarks/train_throughput.py --n_hidden 512 --train_batch_size 16 [--bfloat16] [--steps 12]
    python benchmarks/train_throughput.py --network conformer --conformer_size xs s m --n_hidden 512 1024

Makes speech-like WAVs of 2.9, 5.8 and 8.8 s in a temporary folder (`audio.synthetic_speech`), trains
on them through the loader as a run does, and prints audio-seconds per second, the share of the peak of a 4096 x 4096
product measured in the same process before and after, the share of time spent waiting for data, the peak of resident
memory, and the padding share of random, sorted and planned batches. The work of a step is counted as 2 x 3 x
(multiplications of the forward pass), less the gradient with respect to the features, which nobody needs; padding does
no work that counts.

Several networks take turns of three steps, so that what else the machine does slows all of them alike: each is printed
beside the first one, by the median of the turns.
"""

import argparse
import contextlib
import itertools
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.config import Config, as_dict, parse_flags
from deepspeech_training.config.presets import CONFORMER_SIZES
from deepspeech_training.console import Console
from deepspeech_training.data.loader import Batch, Loader
from deepspeech_training.data.plan import BatchRules, Plan, clip_keys
from deepspeech_training.data.samples import check_sets
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.models.base import AcousticModel, group_of
from deepspeech_training.models.conformer import Conformer
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.tasks.speech_to_text import SpeechToText
from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND

DURATIONS_S = (2.9, 5.8, 8.8)
TURN = 3  # steps of a network before it is the next one's turn; so many as there are durations


def make_corpus(folder: Path, *, clips: int, sample_rate: int) -> Path:
    import soundfile

    from deepspeech_training.audio.synthetic_speech import synthesize_seconds

    rows = ["wav_filename,wav_filesize,transcript"]
    for number in range(clips):
        duration = DURATIONS_S[number % 3]
        audio, text = synthesize_seconds(duration, number % 48, sample_rate=sample_rate)
        path = folder / f"{number:04}.wav"
        soundfile.write(path, audio, sample_rate, subtype="PCM_16")
        rows.append(f"{path.name},{path.stat().st_size},{text}")
    csv = folder / "train.csv"
    csv.write_text("\n".join(rows) + "\n")
    return csv


def multiplications_per_frame(network) -> tuple[float, float]:
    """Of the forward pass in all, and of the first layer alone (whose input needs no gradient)."""
    shapes = network.weight_shapes().items()
    first = sum(math.prod(shape) for name, shape in shapes if len(shape) == 2 and group_of(name) == network.groups[0])
    everything = sum(math.prod(shape) for _, shape in shapes if len(shape) == 2)
    if getattr(network, "heads", 0):  # scores, and the sum of the values by them
        everything += network.layers * 2 * (network.left_context + 1) * network.d_model
    return everything / network.frames_together, first / network.frames_together


def peak_gflops(dtype: str) -> float:
    """Best of five 4096 x 4096 products with the threads that training uses."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.stateless_normal([4096, 4096], [1, 2]), dtype)
    product = tf.function(lambda a: tf.reduce_sum(tf.cast(tf.matmul(a, a)[:1], tf.float32)))
    product(matrix).numpy()
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        product(matrix).numpy()
        best = min(best, time.perf_counter() - started)
    return 2 * 4096**3 / best / 1e9


def random_padding(plan, *, sorted_by_length: bool) -> float:
    import numpy as np

    lengths = np.array([s.cost for s in plan.samples])
    order = np.argsort(lengths) if sorted_by_length else np.random.default_rng(1).permutation(len(lengths))
    size = plan.rules.batch_size
    padded = sum(len(order[i : i + size]) * int(lengths[order[i : i + size]].max()) for i in range(0, len(order), size))
    return 1 - lengths.sum() / padded


@dataclass
class Runner:
    """A network in training, and what its turns have taken."""

    title: str
    backend: Any
    flop_per_frame: float
    batches: Iterator[Batch]
    loader: Loader
    steps: int = 0
    step_s: list[float] = field(default_factory=list)
    turn_audio_s: list[float] = field(default_factory=list)
    turn_s: list[float] = field(default_factory=list)
    frames: int = 0
    waited_s: float = 0.0

    def turn(self, features: FeatureGeometry, *, timed: bool) -> None:
        """Make TURN steps."""
        started, waited_before, samples = time.perf_counter(), self.loader.seconds_waited, 0
        for batch in itertools.islice(self.batches, TURN):
            step_started = time.perf_counter()
            keys = clip_keys(batch.samples, seed=1, step=self.steps)
            self.backend.train_step(batch, keys, learning_rate=1e-4, updates=self.steps)
            self.steps += 1
            samples += batch.cost
            if timed:
                self.step_s.append(time.perf_counter() - step_started)
                self.frames += sum(features.num_frames(int(n)) for n in batch.arrays["num_samples"])
        if timed:
            self.turn_s.append(time.perf_counter() - started)
            self.turn_audio_s.append(samples / features.sample_rate)
            self.waited_s += self.loader.seconds_waited - waited_before

    def rates(self) -> list[float]:
        """audio-s/s of each turn."""
        return [audio_s / s for audio_s, s in zip(self.turn_audio_s, self.turn_s, strict=True)]


def networks(options: argparse.Namespace, num_classes: int) -> Iterator[tuple[str, AcousticModel]]:
    sizes = options.conformer_size or (["s"] if options.network == "conformer" else [])
    for n_hidden in options.n_hidden or ([] if sizes else [512]):
        yield f"n_hidden {n_hidden}", DeepSpeech(num_classes=num_classes, n_hidden=n_hidden)
    for size in sizes:
        yield f"conformer {size}", Conformer(num_classes=num_classes, heads=options.heads, **CONFORMER_SIZES[size])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=("deepspeech", "conformer"), default="deepspeech")
    parser.add_argument("--n_hidden", type=int, nargs="+", help="of LSTMs; 512 unless there is a conformer")
    parser.add_argument("--conformer_size", nargs="+", choices=CONFORMER_SIZES)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--train_batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each, after three that are not")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--audio_sample_rate", type=int, default=16000)
    parser.add_argument("--inter_op", type=int, default=0)
    parser.add_argument("--csv", help="time a corpus of your own instead")
    options = parser.parse_args()

    flags = [f"--inter_op_parallelism_threads={options.inter_op}"]
    if options.bfloat16:
        flags.append("--automatic_mixed_precision")
    machine = BACKENDS[DEFAULT_BACKEND].set_up(parse_flags(flags).config.performance)

    alphabet, features = Alphabet.english(), FeatureGeometry(sample_rate=options.audio_sample_rate)
    turns = 1 + -(-options.steps // TURN)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        csv = options.csv or make_corpus(
            Path(folder), clips=TURN * turns * options.train_batch_size, sample_rate=options.audio_sample_rate
        )
        checked = check_sets(
            {"train": [str(csv)]},
            alphabet=alphabet,
            geometry=features,
            on_bad_row="fail",
            cache_dir=None,
            console=Console(),
            alphabet_name="English",
            workers=None,
        )
        plan = Plan(checked.sets["train"][0].samples, BatchRules(batch_size=options.train_batch_size, seed=1))
        print(f"machine   {machine.description}; {machine.precision}; {machine.intra_op} threads")
        print(
            f"padding   random {random_padding(plan, sorted_by_length=False):.1%}, "
            f"sorted {random_padding(plan, sorted_by_length=True):.1%}, planned {plan.padding_share(1):.1%}"
        )
        planned = [[plan.samples[i] for i in batch] for batch in plan.batches(1)][: TURN * turns]
        runners = []
        for title, network in networks(options, alphabet.num_classes):
            task = SpeechToText(alphabet, replace(features, n_mfcc=network.n_features), network)
            everything, first_layer = multiplications_per_frame(network)
            backend = BACKENDS[DEFAULT_BACKEND].backend(
                task,
                network.initial_weights(seed=1),
                devices=machine.devices,
                compute_dtype=machine.compute_dtype,
                training_options=network.training_options(as_dict(Config())),
                log=print,
            )
            loader = stack.enter_context(Loader(task.load, task.spec, threads=min(usable_cores(), 8)))
            flop_per_frame = 2 * (3 * everything - first_layer)
            runners.append(Runner(title, backend, flop_per_frame, loader.batches(planned), loader))
        peak = peak_gflops(machine.compute_dtype)
        for number in range(turns):
            for runner in runners:
                runner.turn(features, timed=number > 0)
        peak = max(peak, peak_gflops(machine.compute_dtype))
        print(f"peak      {peak:.0f} GFLOP/s in {machine.compute_dtype}; batch {options.train_batch_size}")
        for runner in runners:
            elapsed = sum(runner.turn_s)
            gflops = runner.frames * runner.flop_per_frame / elapsed / 1e9
            beside = [ours / first for ours, first in zip(runner.rates(), runners[0].rates(), strict=True)]
            print(
                f"{runner.title:14} {sum(runner.turn_audio_s) / elapsed:.1f} audio-s/s "
                f"({statistics.median(beside):.2f} of {runners[0].title}), "
                f"median step {statistics.median(runner.step_s):.3f} s, {gflops:.0f} GFLOP/s = {gflops / peak:.0%} of "
                f"the peak, {runner.waited_s / elapsed:.1%} of the time waiting, {runner.backend.traces()} trace"
            )
        print(f"memory    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
