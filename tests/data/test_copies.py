"""Recordings that are there twice."""

import shutil

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.files import read_audio_info
from deepspeech_training.data.copies import Recording, find_copies


@pytest.fixture
def recorded(tmp_path):
    """A function that writes noise, the same for the same seed, and returns it as a Recording."""

    def make(name: str, seed: int, *, set_name="", seconds=1.0, copy_of="", **options) -> Recording:
        path = tmp_path / name
        if copy_of:
            shutil.copy(tmp_path / copy_of, path)
        else:
            noise = np.random.default_rng(seed).integers(-9000, 9000, round(16000 * seconds), dtype=np.int16)
            soundfile.write(path, noise * bool(seed), 16000, **options)
        return Recording(str(path), path.stat().st_size, read_audio_info(str(path)), set_name)

    return make


def names(groups) -> list[list[str]]:
    return [[recording.path.rsplit("/", 1)[1] for recording in group] for group in groups]


def test_copies_are_found_under_other_names_and_in_other_formats(recorded):
    recordings = [
        recorded("a.wav", 1),
        recorded("b.wav", 2),
        recorded("copy of a.wav", 1, copy_of="a.wav"),
        recorded("a.flac", 1),
        recorded("b-24.wav", 2, subtype="PCM_24"),
        recorded("c.wav", 3),
        recorded("short.wav", 1, seconds=0.5),
        recorded("d.mp3", 4),
        recorded("e.mp3", 4, copy_of="d.mp3"),
    ]
    found = names(find_copies(recordings))
    assert sorted(found) == [["a.wav", "copy of a.wav", "a.flac"], ["b.wav", "b-24.wav"], ["d.mp3", "e.mp3"]]


def test_only_copies_in_several_sets_count_where_that_is_asked(recorded):
    recordings = [
        recorded("a.wav", 1, set_name="train"),
        recorded("b.wav", 1, set_name="train"),
        recorded("c.wav", 2, set_name="train"),
        recorded("d.flac", 2, set_name="dev"),
    ]
    assert names(find_copies(recordings, across_sets=True)) == [["c.wav", "d.flac"]]


def test_silence_and_what_is_there_often_are_no_copies(recorded):
    silent = [recorded(f"{number}.wav", 0) for number in range(3)]
    often = [recorded(f"beep{number}.wav", 1) for number in range(11)]
    assert find_copies(silent + often) == []


def test_files_of_one_size_are_told_apart_by_their_middle(recorded, monkeypatch):
    recordings = [recorded(f"{number}.wav", number) for number in range(1, 50)]
    monkeypatch.setattr("deepspeech_training.data.copies.read_audio", None)  # nothing needs to be decoded
    assert find_copies(recordings) == []
