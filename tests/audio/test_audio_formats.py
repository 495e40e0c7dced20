"""The one list of audio formats, and that every command goes by it."""

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.files import read_audio_info
from deepspeech_training.audio.formats import AUDIO_SUFFIXES, is_audio_name
from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.console import Console
from deepspeech_training.data.folder import scan
from deepspeech_training.runtime.transcribe import find_jobs

NAMES = ["a.wav", "b.FLAC", "c.aiff", "d.caf", "e.w64", "f.au", "g.ogg", "h.mp3", "i.opus", "j.rf64", "k.voc"]
SUBTYPES = {"ogg": "VORBIS", "opus": "OPUS", "mp3": "MPEG_LAYER_III"}
CONTAINERS = {"opus": "OGG", "rf64": "RF64"}


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in NAMES:
        end = name.rpartition(".")[2].lower()
        audio = 0.5 * np.sin(np.arange(16000) / 10)
        soundfile.write(folder / name, audio, 16000, SUBTYPES.get(end, "PCM_16"), format=CONTAINERS.get(end, end))
    (folder / "notes.txt").write_text("no recording")
    (folder / "._a.wav").write_bytes(b"what macOS leaves")
    return folder


def test_every_command_takes_the_same_files_of_a_folder(recordings):
    assert [clip.path.name for clip in scan(recordings, Console()).clips] == NAMES
    assert [
        job.audio_path.rpartition("/")[2]
        for job in find_jobs([str(recordings)], list_path=None, output_dir=None, suffix="")
    ] == NAMES
    assert len(AudioSource(str(recordings), sample_rate=16000)) == len(NAMES)


def test_every_one_of_them_can_be_read(recordings):
    for name in NAMES:
        assert read_audio_info(str(recordings / name)).num_frames >= 16000, name


def test_a_suffix_is_written_in_small_letters_with_its_dot():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)
    assert is_audio_name("CLIP.M4A") and not is_audio_name("m4a")
