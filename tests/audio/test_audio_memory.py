"""Long recordings: in blocks, and with a sentence where memory is too little."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio import parts
from deepspeech_training.audio.files import AudioFile, read_audio


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.flac", {}),
        ("a.ogg", {"subtype": "VORBIS"}),
        ("a.ogg", {"subtype": "OPUS"}),
        ("a.mp3", {"bitrate_mode": "VARIABLE"}),
        ("a.wav", {"subtype": "GSM610"}),
    ],
)
def test_blocks_make_what_one_block_makes(tmp_path, monkeypatch, name, how):
    rate, channels = (8000, 1) if how.get("subtype") == "GSM610" else (48000, 2)
    path = str(tmp_path / name)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (rate * 3, channels)), rate, **how)
    whole = read_audio(path, sample_rate=16000)
    monkeypatch.setattr(parts, "BLOCK_FRAMES", 7777)
    np.testing.assert_array_equal(read_audio(path, sample_rate=16000), whole)
    with AudioFile(path) as audio:
        np.testing.assert_allclose(
            audio.read(sample_rate=rate, start=20000, stop=23000),
            audio.read(sample_rate=rate)[20000:23000],
            atol=1e-3 if name == "a.mp3" else 1e-6,
        )


LIMITED = """
import resource, sys
from deepspeech_training.audio.files import AudioError, read_audio
read_audio(sys.argv[1], sample_rate=16000)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, resource.RLIM_INFINITY))
try:
    read_audio(sys.argv[2], sample_rate=16000)
except AudioError as error:
    print(error)
print(len(read_audio(sys.argv[1], sample_rate=16000)))
"""


def test_too_little_memory_is_an_error_of_the_file(tmp_path, make_wav):
    short = make_wav(tmp_path / "short.wav")
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(1), 16000, "PCM_16")
    with open(long, "r+b") as file:
        file.seek(40)
        file.write((400_000_000).to_bytes(4, "little"))  # 3.5 hours, and no bytes on the disk
        file.truncate(44 + 400_000_000)
    done = subprocess.run([sys.executable, "-c", LIMITED, short, str(long)], capture_output=True, text=True, check=True)
    assert "too little memory to read its 3.47 hours" in done.stdout and done.stdout.endswith("\n16000\n")


MEASURED = """
import sys
from pathlib import Path
from deepspeech_training.audio.files import read_audio
audio = read_audio(sys.argv[1], sample_rate=16000, dtype="int16")
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(len(audio), status["VmHWM"].split()[0])  # ru_maxrss would count the process that started this one
"""


@pytest.mark.slow
def test_three_hours_of_48_khz_stereo_take_less_than_a_gigabyte(tmp_path):
    path = tmp_path / "long.wav"
    second = np.random.default_rng(0).normal(0, 0.1, (48000, 2))
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16") as file:
        for _ in range(11_880):
            file.write(second)
    done = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
    num_samples, kilobytes = map(int, done.stdout.split())
    path.unlink()
    assert num_samples == 11_880 * 16000 and kilobytes < 1_000_000
