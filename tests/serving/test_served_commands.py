"""Models of spoken commands beside one that writes: clips, recordings and streams, with the clients that there are."""

import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from models.small_models import COMMANDS, random_commands, random_model
from serving.conftest import metric, wav_bytes
from serving.stream_clients import cuts, of_type, own_stream, refusal
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from deepspeech_training.runtime import SpokenCommandModel
from deepspeech_training.runtime.model_file import ModelFile

RULE = {"threshold": 0.01, "hold_off_s": 0.2}  # so low that random weights hear something
DOCS = Path(__file__).resolve().parents[2] / "docs"
CLIPS, RECORDINGS = "/v1/audio/classifications", "/v1/audio/detections"


@pytest.fixture(scope="module")
def model() -> SpokenCommandModel:
    return SpokenCommandModel(ModelFile.of_bytes(random_commands(rule=RULE)[0], "test"), num_threads=1)


@pytest.fixture(scope="module")
def server(_servers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    (folder / "text.tflite").write_bytes(random_model())
    (folder / "kitchen.tflite").write_bytes(random_commands(rule=RULE)[0])
    return _servers("--model", folder)


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    """int16, 3 s."""
    time = np.arange(3 * 16000) / 16000
    sound = np.sin(2 * np.pi * (200 + 900 * time) * time) * (np.sin(7 * time) > 0)
    return (8000 * sound + 200 * np.random.default_rng(0).standard_normal(len(time))).astype(np.int16)


@pytest.fixture(scope="module")
def wav(audio) -> bytes:
    return wav_bytes(audio / 32768)


@pytest.fixture(scope="module")
def heard(model, audio) -> list[tuple[str, float]]:
    """What is in the audio, and when."""
    with model.stream() as stream:
        found = [*stream.feed(audio), *stream.finish()]
    assert found
    return [(one.label, one.time_s) for one in found]


def test_hugging_faces_client_gets_the_classes_of_a_clip(server, model, audio, wav, tmp_path):
    wanted = [(answer.label, pytest.approx(answer.score, abs=1e-4)) for answer in model.classify(audio)]
    (tmp_path / "clip.wav").write_bytes(wav)
    for address in (f"{server.url}/models/kitchen", server.url + CLIPS):
        client = InferenceClient(address, token="none is wanted")
        for sound in (wav, str(tmp_path / "clip.wav")):
            answers = client.audio_classification(sound)
            assert [(answer.label, answer.score) for answer in answers] == wanted
        best = client.audio_classification(wav, top_k=2, function_to_apply="softmax")  # base64 in JSON
        assert [(answer.label, answer.score) for answer in best] == wanted[:2]


def test_hugging_faces_client_shows_what_was_wrong(server, wav):
    def fault(address: str, sound: bytes, **parameters: object) -> tuple[int, str]:
        with pytest.raises(HfHubHTTPError) as caught:
            InferenceClient(server.url + address, token="none").audio_classification(sound, **parameters)
        return caught.value.response.status_code, str(caught.value)

    for status, words, found in (
        (400, "cannot be used as audio", fault(CLIPS, b"no audio at all")),
        (400, "the scores are probabilities", fault(CLIPS, wav, function_to_apply="sigmoid")),
        (400, "top_k must be from 1", fault(CLIPS, wav, top_k=-1)),
        (400, "the model text writes what is said: POST /v1/audio/transcriptions", fault("/models/text", wav)),
        (404, "there is no model 'cellar'; there is: kitchen", fault("/models/cellar", wav)),
    ):
        assert found[0] == status and words in found[1], found


def test_forms_and_bare_bodies_are_taken_and_what_is_none_is_refused(server, audio, wav):
    with httpx.Client(base_url=server.url, timeout=60) as http:
        form = http.post(CLIPS, files={"file": ("a.wav", wav)}, data={"top_k": "1", "model": "kitchen"}).json()
        bare = http.post(f"{CLIPS}?top_k=1", content=wav).json()
        assert form == bare and len(form) == 1 and form[0]["label"] in COMMANDS
        for request, words in (
            ({"content": b""}, "the body is empty"),
            ({"files": {"other": ("a.wav", wav)}}, "in the field `file`"),
            ({"json": {"inputs": "%%%"}}, "as base64"),
            ({"json": {"inputs": None}}, "as base64"),
            ({"json": [1]}, "must be a JSON object"),
            ({"json": {"inputs": "", "parameters": {"topk": 3}}}, "did you mean top_k?"),
            ({"content": wav, "params": {"rate": "3"}}, "has no 'rate'"),
        ):
            answer = http.post(CLIPS, **request)
            assert answer.status_code == 400 and words in answer.json()["error"], answer.text
        large = http.post(CLIPS, content=b" " * (17 << 20), headers={"Content-Type": "application/json"})
        assert large.status_code == 413 and "16 MB" in large.json()["error"]
        assert http.get("/models/kitchen").status_code == 405


def test_a_recording_has_the_commands_that_a_stream_has(server, wav, heard):
    answer = httpx.post(server.url + RECORDINGS, content=wav, timeout=60).json()
    assert [(one["label"], one["time"]) for one in answer] == heard
    assert all(0 <= one["score"] <= 1 for one in answer)
    strict = httpx.post(server.url + RECORDINGS, files={"file": wav}, data={"threshold": "1"}, timeout=60)
    assert strict.json() == []
    assert metric(server, "deepspeech_commands_total") >= len(heard)


def test_a_stream_tells_commands_wherever_it_is_cut(server, audio, heard):
    url = server.ws_url + "/v1/detect"
    for size in (10**6, 3201):
        said = asyncio.run(own_stream(url, audio.tobytes(), size))
        ready, *found, done = said
        assert ready["model"] == "kitchen" and ready["commands"] == ["yes", "no"] and ready["threshold"] == 0.01
        assert done == {"type": "done", "seconds": 3.0}
        assert [(one["type"], one["label"], one["time"]) for one in found] == [("detection", *one) for one in heard]
        assert all(0 <= one["score"] <= 1 and one["lag_s"] >= 0 for one in found)
    none = asyncio.run(own_stream(url + "?threshold=1", audio.tobytes()))
    assert of_type(none, "detection") == []
    stereo = np.repeat(audio, 2).tobytes()
    assert of_type(asyncio.run(own_stream(url + "?channels=2", stereo)), "detection")


def test_the_examples_of_the_pages_run(server, audio, wav, heard, tmp_path):
    (tmp_path / "yes.wav").write_bytes(wav)
    (tmp_path / "clip.wav").write_bytes(wav)
    _, of_clips = re.findall(r"```python\n(.*?)```", (DOCS / "commands.md").read_text(encoding="utf-8"), re.DOTALL)
    section = (DOCS / "protocols.md").read_text(encoding="utf-8").split("## /v1/detect")[1]
    of_streams = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    said = []
    for program in (of_clips.replace("models/commands", "models/kitchen"), of_streams):
        words = [sys.executable, "-c", program.replace("127.0.0.1:8000", server.url.removeprefix("http://"))]
        finished = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert finished.returncode == 0, finished.stderr
        said.append([line.split() for line in finished.stdout.splitlines()])
    assert said[0][0][0] in COMMANDS
    assert [(label, float(time)) for time, label, _ in said[1]] == heard


def test_start_ping_and_mistakes_are_those_of_the_own_protocol(server, audio):
    async def talk() -> list[dict]:
        said = []
        async with asyncio.timeout(60), connect(server.ws_url + "/v1/detect") as socket:
            await socket.send('{"type": "start", "rate": 8000, "hold_off_s": 9}')
            for part in cuts(audio.tobytes(), 3200):
                await socket.send(part)
            await socket.send('{"type": "ping"}')
            await socket.send('{"type": "flush"}')
            with contextlib.suppress(ConnectionClosedError):  # which a mistake ends
                async for message in socket:
                    said.append(json.loads(message))
        return said

    said = asyncio.run(talk())
    assert [message["hold_off_s"] for message in of_type(said, "ready")] == [0.2, 9]
    assert of_type(said, "pong") and "start, finish or ping" in said[-1]["message"]
    for query, code, words in (
        ("treshold=0.5", 400, "did you mean threshold?"),
        ("threshold=2", 400, "from 0 to 1"),
        ("model=cellar", 404, "there is: kitchen"),
        ("model=text", 400, "writes what is said"),
    ):
        status, error = asyncio.run(refusal(f"{server.ws_url}/v1/detect?{query}"))
        assert status == code and words in error["message"]


def test_each_model_says_its_task_and_refuses_the_work_of_another(server, wav):
    models = httpx.get(f"{server.url}/v1/models").json()["data"]
    facts = {model["id"]: model["facts"] for model in models}
    assert {name: of["task"] for name, of in facts.items()} == {"kitchen": "spoken_command", "text": "speech_to_text"}
    kitchen = httpx.get(f"{server.url}/v1/models/kitchen").json()["facts"]
    assert kitchen["commands"] == ["yes", "no"] and kitchen["threshold"] == 0.01 and kitchen["accuracy"] is None
    refused = httpx.post(
        f"{server.url}/v1/audio/transcriptions", files={"file": io.BytesIO(wav)}, data={"model": "kitchen"}
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("the model kitchen hears commands: POST /v1/audio/class")
    status, error = asyncio.run(refusal(f"{server.ws_url}/v1/stream?model=kitchen"))
    assert status == 400 and "which writes what is said: text" in error["message"]
    text = httpx.post(f"{server.url}/v1/audio/transcriptions", files={"file": io.BytesIO(wav)}, timeout=60)
    assert text.status_code == 200 and "text" in text.json()


def test_commands_alone_are_served_alive_and_without_a_model_that_writes(make_server, wav, tmp_path):
    (tmp_path / "kitchen.tflite").write_bytes(random_commands()[0])
    server = make_server("--model", tmp_path / "kitchen.tflite")
    server.said(r"Model kitchen: (0.\d MB, 16000 Hz, commands yes, no)")
    assert httpx.get(f"{server.url}/live", timeout=60).json() == {"status": "live"}
    assert httpx.get(f"{server.url}/health").json()["model"] == "kitchen"
    refused = httpx.post(f"{server.url}/v1/audio/transcriptions", files={"file": io.BytesIO(wav)})
    assert refused.status_code == 400
    assert "no model is served here which writes what is said; kitchen hears" in refused.json()["error"]["message"]
    assert httpx.post(f"{server.url}/models/kitchen", content=wav, timeout=60).status_code == 200
    assert server.stop() == 0
