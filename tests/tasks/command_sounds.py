"""A small corpus of sounds that stand for commands."""

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def sound(label: str, seed: int, seconds: float = 0.6) -> np.ndarray:
    """Low and high tones, a rising one, and noise for a word that is no command."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    wobble = generator.uniform(0.95, 1.05)
    audio = {
        "low": np.sin(2 * np.pi * 300 * wobble * time),
        "high": np.sin(2 * np.pi * 2500 * wobble * time),
        "rising": np.sin(2 * np.pi * (400 + 1500 * time) * wobble * time),
        "other": generator.standard_normal(len(time)),
    }[label]
    return (generator.uniform(0.1, 0.3) * audio + 0.002 * generator.standard_normal(len(time))).astype(np.float32)


def make_commands(folder: Path) -> dict[str, str]:
    """CSVs by "train", "dev", "test" and "speech", and below "noise" a folder of it."""
    paths = {}
    for number, (kind, count) in enumerate((("train", 32), ("dev", 8), ("test", 8))):
        rows = []
        for i in range(count):
            label = ("low", "high", "rising", "other")[i % 4]
            name = f"{kind}-{label}-{i}.wav"
            soundfile.write(folder / name, sound(label, 100 * number + i), RATE)
            rows.append((name, 0, "some words", label, f"{kind}{i // 4}"))
        paths[kind] = str(folder / f"{kind}.csv")
        with open(paths[kind], "w", encoding="utf-8", newline="") as file:
            header = ("wav_filename", "wav_filesize", "transcript", "label", "speaker")
            csv.writer(file).writerows([header, *rows])
    speech = []
    for i, text in enumerate(("some words", "the low road", "others")):
        soundfile.write(folder / f"speech-{i}.wav", sound("other", 900 + i, 8.0), RATE)
        speech.append((f"speech-{i}.wav", 0, text))
    paths["speech"] = str(folder / "speech.csv")
    with open(paths["speech"], "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("wav_filename", "wav_filesize", "transcript"), *speech])
    noise = folder / "noise"
    noise.mkdir()
    hum = 0.02 * np.random.default_rng(9).standard_normal(12 * RATE)
    soundfile.write(noise / "hum.wav", hum.astype(np.float32), RATE)
    return {**paths, "noise": str(noise)}


def flags(paths: dict[str, str], *others) -> list:
    files = [word for kind in ("train", "dev", "test") for word in (f"--{kind}_files", paths[kind])]
    task = ["--task", "spoken_command", "--labels", "low,high,rising", "--silence_noise", paths["noise"]]
    training = ["--filters", 16, "--train_batch_size", 8, "--learning_rate", 0.01, "--warmup_epochs", 0]
    return [*files, *task, *training, *others]
