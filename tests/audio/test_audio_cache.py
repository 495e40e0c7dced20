import multiprocessing
import os
import shutil

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.cache import RECORD, AudioCache
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.errors import UserError


def tone(seconds: float, rate: int, hz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def clips(tmp_path) -> list[str]:
    """Files that take some decoding: MP3, FLAC of the wanted rate, WAV of another."""
    paths = []
    for number, (name, rate) in enumerate((("a.mp3", 32000), ("b.flac", 16000), ("c.wav", 44100), ("d.ogg", 16000))):
        paths.append(str(tmp_path / name))
        soundfile.write(paths[-1], tone(0.5 + 0.1 * number, rate, 300 + 100 * number), rate)
    return paths


@pytest.fixture
def opened(tmp_path):
    """A function that opens the cache again, as another process would; `warnings` has what it says."""

    def open_cache(rate: int = 16000, max_bytes: int = 10**9) -> AudioCache:
        return AudioCache(tmp_path / "cache", sample_rate=rate, max_bytes=max_bytes, warn=open_cache.warnings.append)

    open_cache.warnings = []
    return open_cache


def assert_reads_the_same(cache: AudioCache, paths, *, hits: int, rate: int = 16000):
    before = cache.hits
    for path in paths:
        found = cache.read(path)
        assert found.dtype == np.float32 and found.flags.writeable and found.flags.c_contiguous
        np.testing.assert_array_equal(found, read_audio(path, sample_rate=rate))
    assert cache.hits - before == hits


def test_what_is_read_is_the_same_to_the_bit_from_the_file_and_from_the_cache(clips, opened):
    first = opened()
    assert_reads_the_same(first, clips, hits=0)
    assert_reads_the_same(first, clips, hits=4)
    assert_reads_the_same(opened(), clips, hits=4)
    assert len(opened()) == 4 and not opened.warnings


def test_samples_of_16_bits_take_two_bytes_and_others_four(clips, opened, tmp_path):
    cache = opened()
    cache.read(clips[1])  # FLAC
    assert cache.size() == 2 * 9600 + RECORD.size
    cache.read(clips[3])  # Ogg Vorbis
    assert cache.size() == 2 * 9600 + 4 * 12800 + 2 * RECORD.size
    assert cache.describe().endswith("cache: 2 clips, 0.00 GB of at most 1 GB")


def test_a_wav_of_the_wanted_rate_is_not_stored(opened, make_wav, tmp_path):
    cache = opened()
    np.testing.assert_array_equal(
        cache.read(make_wav(tmp_path / "a.wav")), read_audio(str(tmp_path / "a.wav"), sample_rate=16000)
    )
    assert len(cache) == 0 and cache.size() == 0


def test_a_changed_file_and_another_rate_are_never_met_with_what_was_there(clips, opened):
    cache = opened()
    assert_reads_the_same(cache, clips, hits=0)
    status = os.stat(clips[1])
    soundfile.write(clips[1], tone(0.6, 16000, 777), 16000)
    assert_reads_the_same(cache, clips, hits=3)
    assert_reads_the_same(opened(rate=8000), clips, hits=0, rate=8000)
    soundfile.write(clips[1], tone(0.6, 16000, 500), 16000)
    os.utime(clips[1], ns=(status.st_atime_ns, status.st_mtime_ns))  # a later run, in which the time tells nothing
    assert_reads_the_same(opened(), clips, hits=3)


def test_a_copy_of_a_file_is_the_same_clip(clips, opened, tmp_path):
    opened().read(clips[0])
    os.rename(clips[0], tmp_path / "moved.mp3")
    assert_reads_the_same(opened(), [str(tmp_path / "moved.mp3")], hits=1)


def test_faults_of_files_are_those_of_read_audio(opened, tmp_path):
    cache = opened()
    (tmp_path / "bad.mp3").write_bytes(b"nothing")
    for name in ("none.mp3", "bad.mp3", "bad.wav"):
        with pytest.raises(AudioError):
            cache.read(str(tmp_path / name))
    assert len(cache) == 0


def test_nothing_is_stored_beyond_the_bound_and_training_goes_on(clips, opened):
    cache = opened(max_bytes=60000)
    assert_reads_the_same(cache, clips, hits=0)
    assert cache.size() <= 60000 and 0 < len(cache) < 4
    assert len(opened.warnings) == 1 and "stores nothing more: it is full" in opened.warnings[0]


def test_a_lower_bound_removes_what_nobody_uses(clips, opened, tmp_path):
    first = opened()
    first.read(clips[0])
    second = opened(max_bytes=100)
    assert len(second) == 1  # in use
    first.close()
    second.close()
    smaller = opened(max_bytes=100)
    assert len(smaller) == 0 and smaller.size() == 0 and not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("suffix", [".pack", ".index"])
def test_damage_is_noticed_and_the_clip_decoded(clips, opened, tmp_path, suffix):
    opened().read(clips[2])
    (path,) = (tmp_path / "cache").glob(f"*{suffix}")
    for damaged in (
        lambda data: data[: len(data) // 2],
        lambda data: data[:40] + bytes([data[40] ^ 0xFF]) + data[41:],
        lambda data: b"\xff" * len(data),
        lambda data: b"",
    ):
        whole = path.read_bytes()
        path.write_bytes(damaged(whole))
        assert_reads_the_same(opened(), [clips[2]], hits=0)
        for new in set((tmp_path / "cache").iterdir()) - {path, path.with_suffix(".pack"), path.with_suffix(".index")}:
            new.unlink()
        path.write_bytes(whole)
    assert_reads_the_same(opened(), [clips[2]], hits=1)


def test_what_another_run_stores_is_found_while_both_run(clips, opened, monkeypatch):
    monkeypatch.setattr("deepspeech_training.audio.cache.SECONDS_BETWEEN_LOOKS", 0)
    one, other = opened(), opened()
    assert_reads_the_same(one, clips[:2], hits=0)
    assert_reads_the_same(other, clips, hits=2)
    assert_reads_the_same(one, clips, hits=4)
    assert len(opened()) == 4


def read_all(folder: str, paths: list[str], answers) -> None:
    cache = AudioCache(folder, sample_rate=16000, max_bytes=10**9, warn=print)
    answers.put(all(np.array_equal(cache.read(p), read_audio(p, sample_rate=16000)) for p in paths * 3))


def test_several_processes_share_a_folder(clips, opened, tmp_path):
    context = multiprocessing.get_context("forkserver")
    answers = context.Queue()
    orders = [clips, clips[::-1], clips[1:] + clips[:1]]
    processes = [context.Process(target=read_all, args=(tmp_path / "cache", order, answers)) for order in orders]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
    assert_reads_the_same(opened(), clips, hits=4)


def test_after_a_renewal_every_clip_is_decoded_once_more(clips, opened):
    cache = opened()
    assert_reads_the_same(cache, clips, hits=0)
    cache.renew()
    size = cache.size()
    assert_reads_the_same(cache, clips, hits=0)
    assert_reads_the_same(cache, clips, hits=4)
    assert cache.size() == size


def test_a_folder_that_is_removed_under_a_run_does_no_harm(clips, opened, tmp_path, monkeypatch):
    monkeypatch.setattr("deepspeech_training.audio.cache.SECONDS_BETWEEN_LOOKS", 0)
    cache = opened()
    assert_reads_the_same(cache, clips[:2], hits=0)
    shutil.rmtree(tmp_path / "cache")
    assert_reads_the_same(cache, clips, hits=2)
    assert len(opened.warnings) == 1 and "stores nothing more: No such file" in opened.warnings[0]
    assert cache.describe().endswith("cache: is not there any more")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--feature_cache .*file/cache: cannot use this folder"):
        AudioCache(tmp_path / "file" / "cache", sample_rate=16000, max_bytes=1, warn=print)
