"""What the check says of recordings that have the length of others, and are not what they seem."""

import io

import numpy as np
import pytest
from recordings import encoded

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.console import Console
from deepspeech_training.data.samples import check_sets
from deepspeech_training.features.geometry import FeatureGeometry

TONE = 0.4 * np.sin(np.arange(32000) / 10)


@pytest.fixture
def check(tmp_path):
    """A function that checks files by name; they have the same transcript."""

    def run(recordings: dict[str, bytes]):
        rows = ["wav_filename,wav_filesize,transcript"]
        for name, content in recordings.items():
            if not (tmp_path / name).exists():
                (tmp_path / name).write_bytes(content)
            rows.append(f"{name},,hello")
        (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
        return check_sets(
            {"train": [str(tmp_path / "train.csv")]},
            alphabet=Alphabet.english(),
            geometry=FeatureGeometry(),
            on_bad_row="drop",
            cache_dir=tmp_path / "cache",
            console=Console(stream=io.StringIO()),
            alphabet_name="alphabet.txt",
        )

    return run


def test_files_without_a_length_in_the_header_are_counted_and_cut_ones_rejected(check):
    call = encoded(TONE, 8000, format="WAV", subtype="GSM610")
    opus = encoded(TONE, format="OGG", subtype="OPUS")
    flac = encoded(TONE, format="FLAC")
    checked = check(
        {"call.wav": call, "two.opus": opus + opus, "cut.opus": opus[:-9], "cut.flac": flac[:-9], "cut.wav": call[:900]}
    )
    samples = [sample for part in checked.sets["train"] for sample in part.samples]
    assert [(sample.row, round(sample.num_samples / 16000, 1)) for sample in samples] == [(2, 4.0), (3, 4.0)]
    assert [(row.row, row.reason_code, "cut (truncated)" in row.reason) for row in checked.rejected] == [
        (4, "unreadable", True),
        (5, "unreadable", True),
        (6, "unreadable", True),
    ]


def test_silence_and_inverted_channels_are_told_also_from_the_cache(check):
    recordings = {
        "a.wav": encoded(np.zeros(32000), format="WAV"),
        "b.wav": encoded(np.zeros(32000), format="WAV"),
        "c.flac": encoded(np.stack([TONE, -TONE], axis=1), format="FLAC"),
        "d.wav": encoded(TONE, format="WAV"),
    }
    for from_cache in (0, 4):
        checked = check(recordings)
        assert checked.from_cache == from_cache
        told = [line for line in checked.warnings if "silence" in line or "cancel" in line]
        assert told == [
            "train: train.csv:2: it is digital silence: every sample is 0 (2 such clips)",
            "train: train.csv:4: its 2 channels cancel each other: channel 1 is taken alone",
        ]
