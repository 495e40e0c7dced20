"""One clip: exact samples, and broken audio that ends as a fault of the clip."""

import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.audio.files import read_audio_info
from deepspeech_training.importers.clip_jobs import ClipJob
from deepspeech_training.importers.clips import convert
from deepspeech_training.importers.converting import Converters


@pytest.fixture
def job(tmp_path):
    def make(source, **options) -> ClipJob:
        values = {"sample_rate": 16000, "audio_format": "wav", **options}
        return ClipJob(1, str(source), str(tmp_path / "out.wav"), str(tmp_path), **values)

    return make


def test_16_bit_samples_come_through_unchanged(tmp_path, job):
    samples = np.random.default_rng(1).integers(-32768, 32768, 16000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    result = convert(job(tmp_path / "a.wav"))
    assert (result.num_samples, result.num_bytes, result.code) == (16000, 32044, "")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="int16")[0], samples)
    assert (tmp_path / "out.wav").read_bytes()[:4] == b"RIFF"


def test_any_rate_and_channels_become_16_khz_mono(make_wav, tmp_path, job):
    result = convert(job(make_wav(tmp_path / "a.flac", 0.5, 44100, channels=2)))
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 8000)
    assert result.num_samples == 8000 and -8 < result.peak_db < -3


def test_a_part_of_a_recording(make_wav, tmp_path, job):
    path = make_wav(tmp_path / "a.wav", 3.0, 8000)
    assert convert(job(path, start_s=1.0, end_s=1.5)).num_samples == 8000
    assert convert(job(path, start_s=2.0, end_s=9.0)).code == "bad_row"
    assert convert(job(path, start_s=2.0, end_s=1.0)).code == "bad_row"


def wav_header(rate=16000, data_bytes=0, fmt=1, bits=16) -> bytes:
    size = bits // 8
    return (
        b"RIFF"
        + struct.pack("<I", 36 + data_bytes)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, fmt, 1, rate, rate * size, size, bits)
        + b"data"
        + struct.pack("<I", data_bytes)
    )


BROKEN = {
    "a text named .wav": (b"hello there\n" * 100, "unreadable"),
    "0 bytes": (b"", "empty_audio"),
    "no samples": (wav_header(), "empty_audio"),
    "0 Hz": (wav_header(rate=0, data_bytes=320) + bytes(320), "unreadable"),
    "not finite": (
        wav_header(fmt=3, bits=32, data_bytes=400) + struct.pack("<100f", *[float("nan")] * 100),
        "unreadable",
    ),
    "50 hours claimed": (wav_header(data_bytes=50 * 3600 * 32000 % 2**32) + bytes(3200), "unreadable"),
    "truncated": (wav_header(data_bytes=32000) + bytes(3200), "unreadable"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_audio_is_a_fault_and_leaves_no_file(name, tmp_path, job):
    content, code = BROKEN[name]
    (tmp_path / "a.wav").write_bytes(content)
    result = convert(job(tmp_path / "a.wav"))
    assert result.code == code and result.reason and not result.num_samples
    assert not (tmp_path / "out.wav").exists()


def test_an_hour_is_the_longest_clip(tmp_path, job):
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 100, 1, "PCM_U8") as file:
        file.write(np.zeros(3700 * 100))
    assert "at most one hour" in convert(job(tmp_path / "a.wav")).reason


def test_a_cut_mp3_is_truncated_wherever_it_is_cut(test_data, tmp_path, job):
    clips = test_data / "commonvoice" / "cv-corpus-13.0-delta-2023-03-09" / "en" / "clips"
    path = min(clips.glob("*.mp3"))
    data = path.read_bytes()
    cut = tmp_path / "cut.mp3"
    for size in (len(data) // 2, len(data) - 1, len(data) - 300):
        cut.write_bytes(data[:size])
        if size % 216 != len(data) % 216:
            assert "truncated" in convert(job(cut)).reason
    # Cut between two frames it looks whole; the length that the corpus promises tells.
    cut.write_bytes(data[: len(data) - 100 * 216])
    assert "promises" in convert(job(cut, expected_s=soundfile.info(path).duration)).reason


def test_no_real_clip_is_taken_for_a_cut_one(test_data):
    clips = test_data / "commonvoice" / "cv-corpus-13.0-delta-2023-03-09" / "en" / "clips"
    assert all(read_audio_info(str(path)).num_frames for path in clips.glob("*.mp3"))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600), st.sampled_from(["wav", "mp3", "flac", "ogg"]), st.booleans())
def test_no_bytes_crash_the_reader(tmp_path_factory, data, end, after_a_header):
    folder = tmp_path_factory.mktemp("fuzz")
    start = {
        "wav": wav_header(data_bytes=500),
        "mp3": b"\xff\xfb\x90\x00",
        "flac": b"fLaC\0\0\0\x22",
        "ogg": b"OggS\0\2",
    }
    (folder / f"a.{end}").write_bytes((start[end] if after_a_header else b"") + data)
    result = convert(ClipJob(1, str(folder / f"a.{end}"), str(folder / "out.wav"), str(folder), 16000, "wav"))
    assert bool(result.code) != bool(result.num_samples)


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed")
def test_sox_reads_what_libsndfile_cannot(make_wav, tmp_path, job):
    make_wav(tmp_path / "a.wav", 1.0, 8000)
    subprocess.run(["sox", str(tmp_path / "a.wav"), "-t", "cvsd", str(tmp_path / "a.cvs")], check=True)
    assert convert(job(tmp_path / "a.cvs")).num_samples > 8000
    (tmp_path / "list.m3u").write_text(str(tmp_path / "a.wav"))
    assert convert(job(tmp_path / "list.m3u")).code == "unreadable"


def convert_all(jobs, workers):
    with Converters(workers) as converters:
        return [result for results in converters.convert_all(jobs) for result in results]


class Crash(ClipJob):
    """A job that ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_clip_that_crashes_a_decoder_is_found_and_the_others_are_converted(make_wav, tmp_path):
    path = make_wav(tmp_path / "a.wav", 0.1)
    jobs = [([ClipJob(key, path, str(tmp_path / f"{key}.out"), str(tmp_path), 16000, "wav")], None) for key in range(3)]
    jobs.insert(1, ([Crash(9, path, str(tmp_path / "9.out"), str(tmp_path), 16000, "wav")], None))
    results = convert_all(jobs, 2)
    assert [(result.key, result.code) for result in results] == [(0, ""), (9, "unreadable"), (1, ""), (2, "")]
    assert results[1].reason == "the decoder crashed on it"


def test_copied_processes_survive_a_crash_too(make_wav, tmp_path):
    make_wav(tmp_path / "a.wav", 0.1)
    done = subprocess.run([sys.executable, "-c", COPIES, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["fork", "spawn", "0", "unreadable", "2"], done.stderr


COPIES = """
import os, sys
from deepspeech_training.audio.files import read_audio_info
from deepspeech_training.importers.clip_jobs import ClipJob
from deepspeech_training.importers.converting import Converters, _context

class Crash(ClipJob):
    def __reduce__(self):
        return os._exit, (1,)

folder = sys.argv[1]
print(_context().get_start_method())
with Converters(2) as converters:
    print(_context().get_start_method())
    jobs = [
        ([kind(key, folder + "/a.wav", f"{folder}/{key}.out", folder, 16000, "wav")], None)
        for key, kind in enumerate((ClipJob, Crash, ClipJob))
    ]
    for results in converters.convert_all(jobs):
        print(*(result.code or result.key for result in results))
assert "numpy" not in sys.modules
"""


def test_workers_give_what_one_process_gives(make_wav, tmp_path):
    jobs = []
    for number in range(40):
        path = make_wav(tmp_path / f"{number}.wav", 0.1 + number / 100)
        jobs.append(([ClipJob(number, path, str(tmp_path / f"{number}.out"), str(tmp_path), 16000, "wav")], None))
    alone = convert_all(jobs, 1)
    shared = convert_all(jobs, 2)
    assert shared == alone and [result.key for result in alone] == list(range(40))
