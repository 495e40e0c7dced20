"""Uploads: every kind of file that browsers and phones record, and what is none."""

import contextlib
import errno
import os
import threading
import time

import av
import numpy as np
import pytest
from audio.phone_recordings import KINDS, encoded, recorded_live, recording
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.files import AudioFile
from deepspeech_training.runtime import media
from deepspeech_training.runtime.media import MediaError, MediaLimits, decode

WHOLE = {kind: recording(kind, seconds=0.5) for kind in KINDS}


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


def test_a_header_without_sound_is_no_recording():
    header = recorded_live()[:110]
    code, message = fault(header, name="blob")
    assert code == "empty_audio" and "('blob')" in message and "ends before any sound" in message
    assert "Send WAV, FLAC, MP3" in message
    for data in (b"", recording("wav")[:44], recording("webm")[:3]):
        code, message = fault(data)
        assert code in ("empty_audio", "unreadable") and message.count("\n") == 0


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus", "webm", "m4a"])
def test_a_cut_file_is_called_cut(kind):
    data = recording(kind)
    assert "cut" in fault(data[: len(data) // 2])[1]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b'{"error": 1}', "a JSON document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture"),
        (b"hello, this is no sound at all", "text"),
        (bytes(2000), "Format not recognised. Send"),
    ],
)
def test_what_is_no_audio_is_named(data, named):
    code, message = fault(data, name="a.wav")
    assert code == "unreadable" and named in message


def test_a_film_without_sound_is_told(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame(16, 16, "yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    code, message = fault(path.read_bytes())
    assert code == "empty_audio" and "no sound, only video" in message


@pytest.mark.parametrize("kind", ["wav", "webm", "opus", "flac"])
def test_no_more_is_decoded_than_is_taken(kind):
    silence = np.zeros(30 * KINDS[kind][2], np.int16)
    code, message = fault(encoded(silence, kind), limits=MediaLimits(seconds=20))
    assert code == "too_long" and "at most 20 s are taken" in message


def test_a_long_silence_in_few_bytes_is_stopped_by_the_time_that_is_allowed():
    silence = encoded(np.zeros(60 * 48000, np.int16), "webm", options={"live": "1"})
    began = time.monotonic()
    code, message = fault(silence, limits=MediaLimits(timeout_s=0.05))
    assert code == "decoding_limits" and "longer than 0.05 s" in message
    assert time.monotonic() - began < 30


def test_a_header_that_asks_for_more_memory_than_is_allowed_is_refused():
    # The table of the sizes of 2 ** 30 samples, of which there are none.
    film = bytearray(recording("m4a"))
    at = film.index(b"stsz")
    film[at + 8 : at + 16] = (0).to_bytes(4, "big") + (1 << 30).to_bytes(4, "big")
    code, message = fault(bytes(film), limits=MediaLimits(memory_mb=600))
    assert code in ("decoding_limits", "unreadable", "empty_audio") and "\n" not in message


def test_no_more_disk_is_taken_than_is_allowed():
    code, message = fault(recording("m4a", seconds=30), limits=MediaLimits(disk_mb=1))
    assert code == "decoding_limits" and "decoded it takes more than 1 MB" in message


def test_a_full_disk_is_no_fault_of_the_file(monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(media.tempfile, "TemporaryFile", full)
    code, message = fault(recording("webm"))
    assert code == "no_room" and "No space left" in message


def test_without_pyav_the_package_is_named(monkeypatch, tmp_path):
    (tmp_path / "av.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert "pip install 'deepspeech_training[media]'" in fault(recording("webm"))[1]


def test_the_decoder_sees_nothing_of_the_services_secrets(monkeypatch):
    monkeypatch.setenv("DEEPSPEECH_API_KEY", "secret")
    assert "secret" not in str(media._environment())


def test_a_playlist_in_disguise_opens_nothing(tmp_path):
    (tmp_path / "a.wav").write_bytes(recording("wav"))
    for data in (
        f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/a.wav\n".encode(),
        f"ffconcat version 1.0\nfile {tmp_path}/a.wav\n".encode(),
    ):
        assert fault(data)[0] == "unreadable"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_an_error_of_audio_and_nothing_else(kind, data, tmp_path):
    """In this process, for speed: the reader that the other process has."""
    whole = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        garbage = data.draw(st.binary(max_size=12))
        whole[at : at + data.draw(st.integers(0, 12))] = garbage
    path = tmp_path / "damaged"
    path.write_bytes(whole)
    with contextlib.suppress(AudioError), AudioFile(str(path), most_s=60) as audio:
        audio.read(sample_rate=16000)


@given(st.binary(max_size=300), st.sampled_from(list(KINDS)), st.integers(0, 2000))
@settings(max_examples=10)
def test_an_upload_of_any_bytes_is_decoded_or_refused_with_a_sentence(garbage, kind, kept):
    try:
        audio, rate = decode(WHOLE[kind][:kept] + garbage, limits=MediaLimits(seconds=60, timeout_s=60))
        assert rate > 0 and np.isfinite(audio).all()
    except MediaError as error:
        assert "\n" not in str(error) and "Traceback" not in str(error)


def test_what_nobody_waits_for_is_given_up():
    given_up, began = threading.Event(), time.monotonic()
    given_up.set()
    with pytest.raises(MediaError):
        decode(WHOLE["opus"], given_up=given_up)
    assert time.monotonic() - began < 30
