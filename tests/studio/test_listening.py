"""Recordings that the served model transcribes, and what a person says of the pieces, over HTTP."""

import csv
import io
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deepspeech_training.console import Console
from deepspeech_training.data.clips import read_clips
from deepspeech_training.serving.app import refused
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import load
from deepspeech_training.serving.security import is_open
from deepspeech_training.serving.sources import find_sources
from deepspeech_training.studio.benches import Benches
from deepspeech_training.studio.listening import Listening

NOWHERE = str(uuid.uuid4())


@pytest.fixture(scope="module")
def engine(test_data):
    served = load(find_sources(test_data / "golden" / "output_graph_nodrop.tflite"), num_threads=1)
    engine = Engine({model.name: model for model in served}, Limits(), Metrics(), num_threads=1)
    yield engine
    engine.shut_down()


@pytest.fixture
def open_client(tmp_path, engine):
    """A function that opens the benches of the volume `tmp_path`, as often as it is started."""

    def start(engine=engine) -> TestClient:
        benches = Benches(tmp_path / "listening", tmp_path / "corpora", tmp_path / "studio")
        app = Starlette(routes=Listening(benches).routes(), exception_handlers={ServingError: refused})
        app.state.service = SimpleNamespace(metrics=Metrics(), limits=Limits(), engine=engine)
        return TestClient(app)

    return start


@pytest.fixture
def client(open_client):
    return open_client()


@pytest.fixture(scope="module")
def meeting(test_data) -> bytes:
    """A FLAC of 48 kHz in stereo: the sentence three times, with pauses, the second time in noise."""
    audio, rate = soundfile.read(test_data / "ldc93s1" / "LDC93S1.wav", dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.02, len(audio)).astype(np.float32)
    pause = np.zeros(round(2.5 * rate), np.float32)
    whole = np.concatenate([pause, audio, pause, audio + noise, pause, audio, pause])
    content = io.BytesIO()
    soundfile.write(content, np.stack([whole, whole], axis=1), rate, format="FLAC")
    return content.getvalue()


def make(client, title="Meetings") -> str:
    answer = client.post("/v1/studio/listening", json={"title": title, "language": "en"})
    assert answer.status_code == 201, answer.text
    return f"/v1/studio/listening/{answer.json()['name']}"


def put(client, bench: str, content: bytes, *, recording=None, name="meeting.flac"):
    return client.put(f"{bench}/recordings/{recording or uuid.uuid4()}", params={"name": name}, content=content)


def judge(client, bench: str, piece: dict, state: str, text: str = ""):
    return client.post(f"{bench}/pieces/{piece['id']}/verdict", json={"state": state, "text": text})


def told(answer) -> str:
    return answer.json()["error"]["message"]


def test_a_recording_is_cut_and_what_the_model_is_least_sure_of_comes_first(client, meeting):
    bench = make(client)
    added = put(client, bench, meeting).json()
    assert added["pieces"] == 3 and added["name"] == "meeting.flac"
    found = client.get(bench).json()
    assert found["total"] == 3 and found["counts"] == {"open": 3, "accepted": 0, "rejected": 0}
    pieces = found["pieces"]
    assert [piece["confidence"] for piece in pieces] == sorted(piece["confidence"] for piece in pieces)
    assert 6 < pieces[0]["start_s"] < 9  # the one in noise
    heard = pieces[-1]["heard"]
    assert "your dark suit in greasy wash water" in heard and pieces[-1]["text"] == ""
    assert [word["text"] for word in pieces[-1]["words"]] == heard.split()
    in_time = client.get(bench, params={"order": "time"}).json()["pieces"]
    assert [piece["start_s"] for piece in in_time] == sorted(piece["start_s"] for piece in pieces)
    sound, rate = soundfile.read(io.BytesIO(client.get(f"{bench}/pieces/{pieces[-1]['id']}").content))
    assert rate == 16000 and 2.5 < len(sound) / rate < 4 and np.abs(sound).max() > 0.05


def test_what_is_accepted_becomes_a_corpus_and_every_saved_corpus_is_kept(open_client, meeting, tmp_path):
    client = open_client()
    bench = make(client)
    put(client, bench, meeting)
    first, second, third = client.get(bench, params={"order": "time"}).json()["pieces"]
    assert "nothing is accepted" in told(client.post(f"{bench}/corpus"))
    assert judge(client, bench, first, "accepted").json()["counts"]["accepted"] == 1
    assert judge(client, bench, first, "accepted", first["heard"]).json()["text"] == ""  # as it was heard
    assert (
        judge(client, bench, second, "accepted", " She had your  dark suit! ").json()["text"]
        == "She had your dark suit!"
    )
    assert judge(client, bench, third, "rejected").json()["state"] == "rejected"
    saved = client.post(f"{bench}/corpus").json()
    assert (saved["version"], saved["sets"]) == (1, {"train": 2})
    train = tmp_path / "corpora" / "meetings" / "train.csv"
    with open(train, encoding="utf-8", newline="") as file:
        rows = {row["transcript"]: row for row in csv.DictReader(file)}
    assert set(rows) == {first["heard"], "she had your dark suit"}
    assert rows["she had your dark suit"]["original"] == "She had your dark suit!"
    assert rows["she had your dark suit"]["heard"] == second["heard"]
    assert [clip.fault for clip in read_clips([str(train)], Console())] == ["", ""]

    client = open_client()  # the app is started again
    assert client.get(bench).json()["counts"] == {"open": 0, "accepted": 2, "rejected": 1}
    assert client.post(f"{bench}/corpus").json()["version"] == 1  # nothing has changed
    before = train.read_bytes()
    judge(client, bench, second, "open")
    assert client.post(f"{bench}/corpus").json() == {**saved, "version": 2, "sets": {"train": 1}}
    versions = tmp_path / "listening" / "meetings" / "versions"
    assert (versions / "0001" / "train.csv").read_bytes() == before != train.read_bytes()
    judge(client, bench, second, "accepted", "She had your dark suit!")
    assert client.post(f"{bench}/corpus").json()["version"] == 3 and train.read_bytes() == before


def test_a_recording_that_is_deleted_is_gone_from_the_corpus_and_from_every_version(client, meeting, tmp_path):
    bench = make(client)
    recording = uuid.uuid4()
    for _ in range(2):
        assert put(client, bench, meeting, recording=recording, name="a.flac").json()["pieces"] == 3
    assert client.get(bench).json()["recordings"] == [{"id": str(recording), "name": "a.flac", "pieces": 3}]
    judge(client, bench, client.get(bench).json()["pieces"][-1], "accepted")
    client.post(f"{bench}/corpus")
    assert client.delete(f"{bench}/recordings/{recording}").status_code == 200
    assert client.get(bench).json()["recordings"] == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bench.json"]
    assert client.delete(f"{bench}/recordings/{recording}").status_code == 404


def test_what_cannot_be_is_refused_with_a_sentence(open_client, meeting, tmp_path):
    client = open_client()
    bench = make(client)
    answer = put(client, bench, b"RIFF this is no sound")
    assert answer.status_code == 400 and client.get(bench).json()["total"] == 0
    put(client, bench, meeting)
    piece = client.get(bench).json()["pieces"][0]
    assert "as words" in told(judge(client, bench, piece, "accepted", "Route 66"))
    assert "state must be one of open" in told(judge(client, bench, piece, "good"))
    assert "order one of unsure" in told(client.get(bench, params={"order": "x"}))
    assert "1 to 80" in told(client.post("/v1/studio/listening", json={"title": " "}))
    for path in (f"{bench}/pieces/..%2fbench", f"{bench}/pieces/{NOWHERE}", "/v1/studio/listening/nothing"):
        assert client.get(path).status_code == 404
    without = open_client(Engine({}, Limits(), Metrics(), num_threads=1))
    assert put(without, bench, meeting).status_code == 503


def test_a_title_becomes_no_path_and_no_corpus_of_somebody_else_is_written_into(client, tmp_path):
    (tmp_path / "corpora" / "evil").mkdir(parents=True)
    (tmp_path / "studio" / "evil-2").mkdir(parents=True)
    assert make(client, "../../evil") == "/v1/studio/listening/evil-3"
    assert not any(is_open(route.path) for route in client.app.routes)
