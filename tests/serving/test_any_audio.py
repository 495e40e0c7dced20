"""Files of every kind through the running service: what decides is what is in them."""

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from audio.phone_recordings import KINDS, encoded, recorded_live, recording


@pytest.fixture
def send(spoken_server):
    """A function that uploads a file and returns the answer."""
    with httpx.Client(base_url=spoken_server.url, timeout=600) as client:

        def post(data: bytes, name: str = "audio.wav", kind: str = "audio/wav", **fields: str) -> httpx.Response:
            return client.post("/v1/audio/transcriptions", files={"file": (name, data, kind)}, data=fields)

        yield post


@pytest.fixture(scope="module")
def spoken(spoken_clip) -> tuple[np.ndarray, int]:
    return soundfile.read(spoken_clip, dtype="int16")


def as_kind(spoken: tuple[np.ndarray, int], kind: str) -> bytes:
    samples, rate = spoken
    return encoded(soxr.resample(samples, rate, KINDS[kind][2]), kind)


@pytest.mark.parametrize("kind", ["webm", "m4a", "opus", "mp3", "flac", "wav"])
def test_every_kind_gives_the_same_text_under_a_wrong_name_and_a_second_time(send, spoken, kind):
    data = as_kind(spoken, kind)
    texts = {
        send(data, name, media_type).json()["text"]
        for name, media_type in [
            (f"clip.{kind}", f"audio/{kind}"),
            ("speech.pdf", "application/pdf"),
            ("../../etc/passwd.wav", "audio/wav"),
        ]
    }
    assert texts == {"she had your dark suit in greasy wash water all year"}


def test_what_a_telephone_records_is_read(send, spoken):
    answer = send(as_kind(spoken, "amr"), "memo.amr", "audio/amr", response_format="verbose_json").json()
    assert abs(answer["duration"] - 2.92) < 0.1 and answer["text"].startswith("she ")  # of 8 kHz the model knows little


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (recorded_live()[:110], "ends before any sound"),
        (recording("wav")[:44], "no data chunk"),
        (recording("m4a")[:9000], "cut"),
        (b"<html><title>502 Bad Gateway</title></html>", "an HTML page"),
        (bytes(4000), "not audio"),
    ],
)
def test_what_is_no_recording_is_a_400_with_a_sentence(send, data, said):
    answer = send(data)
    error = answer.json()["error"]
    assert answer.status_code == 400 and said in error["message"] and error["code"] == "bad_audio"
    assert error["param"] == "file" and error["type"] == "invalid_request_error"


@pytest.mark.slow
def test_an_hour_comes_back_whole(send, spoken):
    samples, rate = spoken
    pause = np.zeros(rate // 2, np.int16)
    count = 3600 * rate // (len(samples) + len(pause))
    answer = send(encoded(np.tile(np.concatenate([samples, pause]), count), "flac"), response_format="verbose_json")
    assert abs(answer.json()["duration"] - 3600) < 5
    assert answer.json()["text"].count("greasy wash water") > 0.95 * count
