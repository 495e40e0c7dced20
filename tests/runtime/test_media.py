"""Uploads: every kind of file that browsers and phones record, and what is none."""

import numpy as np
import pytest
from audio.phone_recordings import KINDS, recorded_live, recording

from deepspeech_training.runtime.media import MediaError, MediaLimits, decode


def pitch(audio: np.ndarray, rate: int) -> float:
    """The loudest frequency, in Hz."""
    return np.abs(np.fft.rfft(audio)).argmax() * rate / len(audio)


def fault(data: bytes, *, name: str = "", limits: MediaLimits | None = None) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        decode(data, name=name, limits=limits)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_recording_is_decoded_whatever_its_name_says(kind):
    audio, rate = decode(recording(kind), name="clip.pdf")
    assert rate == KINDS[kind][2] and audio.dtype == np.float32 and audio.ndim == 1
    assert abs(len(audio) / rate - 2) < 0.15 and abs(pitch(audio, rate) - 220) < 2
    assert 0.3 < np.abs(audio[len(audio) // 4 : -len(audio) // 4]).max() < 0.7


def test_it_is_resampled_on_the_way_if_a_rate_is_wanted(tmp_path):
    path = tmp_path / "a.webm"
    path.write_bytes(recording("webm"))
    audio, rate = decode(path, sample_rate=16000)
    assert rate == 16000 and len(audio) == 32000 and abs(pitch(audio, rate) - 220) < 2


def test_what_a_browser_records_has_no_length_in_its_header_and_may_be_cut():
    whole = recorded_live(seconds=4)
    assert abs(len(decode(whole, sample_rate=16000)[0]) / 16000 - 4) < 0.1
    cut = decode(whole[: len(whole) // 2], sample_rate=16000)[0]
    assert 1 < len(cut) / 16000 < 3
