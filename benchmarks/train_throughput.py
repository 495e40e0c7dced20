#!/usr/bin/env python3
"""How fast training is here: loading, features and steps together, beside the machine's own matrix-product peak.

    python benchmarks/train_throughput.py --n_hidden 512 --train_batch_size 16 [--bfloat16] [--steps 12]

Makes speech-like WAVs of 2.9, 5.8 and 8.8 s in a temporary folder (`audio.synthetic_speech`), trains
on them through the loader as a run does, and prints audio-seconds per second, the share of the peak of a 4096 x 4096
product measured in the same process before and after, the share of time spent waiting for data, the peak of resident
memory, and the padding share of random, sorted and planned batches. The work of a step is counted as 2 x 3 x
(multiplications of the forward pass), less the gradient with respect to the features, which nobody needs; padding does
no work that counts.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.config import parse_flags

DURATIONS_S = (2.9, 5.8, 8.8)


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


def multiplications_per_frame(n_hidden: int, num_classes: int) -> tuple[int, int]:
    """Of the forward pass in all, and of the first layer alone (whose input needs no gradient)."""
    n = n_hidden
    first = 494 * n
    return first + 3 * n * n + 8 * n * n + n * num_classes, first


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_hidden", type=int, default=512)
    parser.add_argument("--train_batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="timed steps, after three that are not")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--audio_sample_rate", type=int, default=16000)
    parser.add_argument("--inter_op", type=int, default=0)
    parser.add_argument("--csv", help="time a corpus of your own instead")
    options = parser.parse_args()

    from deepspeech_training.machine.resources import usable_cores
    from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND

    flags = [f"--inter_op_parallelism_threads={options.inter_op}"]
    if options.bfloat16:
        flags.append("--automatic_mixed_precision")
    machine = BACKENDS[DEFAULT_BACKEND].set_up(parse_flags(flags).config.performance)

    from deepspeech_training.alphabet import Alphabet
    from deepspeech_training.console import Console
    from deepspeech_training.data.loader import Loader
    from deepspeech_training.data.plan import BatchRules, Plan, clip_keys
    from deepspeech_training.data.samples import check_sets
    from deepspeech_training.features.geometry import FeatureGeometry
    from deepspeech_training.models.deepspeech import DeepSpeech
    from deepspeech_training.tasks.speech_to_text import SpeechToText

    alphabet, features = Alphabet.english(), FeatureGeometry(sample_rate=options.audio_sample_rate)
    network = DeepSpeech(num_classes=alphabet.num_classes, n_hidden=options.n_hidden)
    task = SpeechToText(alphabet, features, network)
    with tempfile.TemporaryDirectory() as folder:
        wanted = 3 + options.steps
        csv = options.csv or make_corpus(
            Path(folder), clips=wanted * options.train_batch_size, sample_rate=options.audio_sample_rate
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
        backend = BACKENDS[DEFAULT_BACKEND].backend(
            task,
            network.initial_weights(seed=1),
            devices=machine.devices,
            compute_dtype=machine.compute_dtype,
            training_options={"dropout_rates": dict.fromkeys(("layer_1", "layer_2", "layer_3", "layer_5"), 0.05)},
            log=print,
        )
        peak_before = peak_gflops(machine.compute_dtype)
        all_multiplications, first_layer = multiplications_per_frame(options.n_hidden, alphabet.num_classes)
        flop_per_frame = 2 * (3 * all_multiplications - first_layer)
        frames = seconds_of_audio = 0.0
        step_times = []
        with Loader(task.load, task.spec, threads=min(usable_cores(), 8)) as loader:
            batches = [[plan.samples[i] for i in batch] for batch in plan.batches(1)][:wanted]
            for step, batch in enumerate(loader.batches(batches)):
                if step == 3:
                    started, waited_before = time.perf_counter(), loader.seconds_waited
                step_started = time.perf_counter()
                keys = clip_keys(batch.samples, seed=1, step=step)
                backend.train_step(batch, keys, learning_rate=1e-4, updates=step)
                if step >= 3:
                    step_times.append(time.perf_counter() - step_started)
                    frames += sum(features.num_frames(int(n)) for n in batch.arrays["num_samples"])
                    seconds_of_audio += batch.cost / options.audio_sample_rate
            elapsed = time.perf_counter() - started
            waited = loader.seconds_waited - waited_before
        peak = max(peak_before, peak_gflops(machine.compute_dtype))
        gflops = frames * flop_per_frame / elapsed / 1e9
        print(f"n_hidden  {options.n_hidden}, batch {options.train_batch_size}, {backend.traces()} trace")
        median_s = statistics.median(step_times)
        print(f"speed     {seconds_of_audio / elapsed:.1f} audio-s/s, median step {median_s:.3f} s")
        print(f"work      {gflops:.0f} GFLOP/s = {gflops / peak:.0%} of the {machine.compute_dtype} peak ({peak:.0f})")
        print(f"waiting   {waited / elapsed:.1%} of the time for data")
        print(f"memory    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
