"""What is served: one model or several, new ones without a restart, and none that is broken."""

import asyncio
import json
import os
import shutil

import httpx
import numpy as np
import pytest
from models.small_models import random_model
from serving.conftest import SENTENCE, metric, wav_bytes
from serving.stream_clients import pcm
from websockets.asyncio.client import connect

from deepspeech_training.errors import UserError
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.serving.models import check_memory
from deepspeech_training.serving.sources import find_sources

WAIT_S = 60
FILES = "/v1/audio/transcriptions"


def test_a_new_export_goes_live_and_a_broken_one_is_refused(make_server, spoken_model, spoken_clip, tmp_path):
    path = tmp_path / "mine.tflite"
    shutil.copy(spoken_model, path)
    server = make_server("--model", path, "--reload_s", 0.1)
    audio = pcm(spoken_clip)

    def sha256() -> str:
        return httpx.get(f"{server.url}/v1/models/mine").json()["facts"]["sha256"]

    def replace_with(content: bytes) -> None:
        (tmp_path / "new").write_bytes(content)
        os.replace(tmp_path / "new", path)

    async def talk() -> list[dict]:
        first = sha256()
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream") as stream:
            await stream.send(audio[:40000])
            replace_with(random_model())
            while sha256() == first:
                await asyncio.sleep(0.05)
            await stream.send(audio[40000:])
            await stream.send('{"type": "finish"}')
            return [json.loads(message) async for message in stream]

    said = asyncio.run(talk())
    assert [m["text"] for m in said if m["type"] == "final"] == [SENTENCE]  # on the model that it began with
    assert (
        httpx.post(server.url + FILES, files={"file": spoken_clip.read_bytes()}, timeout=60).json()["text"] != SENTENCE
    )
    second = sha256()
    replace_with(random_model()[:-5000])
    server.said(r"(the one before stays)")
    assert sha256() == second and httpx.get(f"{server.url}/ready").status_code == 200
    assert metric(server, "deepspeech_model_reloads_total") == 2
    assert server.stop() == 0


def test_a_folder_of_models_serves_each_by_its_name_and_language(make_server, spoken_model, spoken_scorer, tmp_path):
    for name, language in (("english", "en-US"), ("german", "de")):
        (tmp_path / name).mkdir()
        shutil.copy(spoken_model, tmp_path / name / "output_graph.tflite")
        (tmp_path / name / "card.md").write_text(
            f'---\nauthor: me\nlanguage: {language}\nlicense: "MIT: mine"\n---\nx\n'
        )
    shutil.copy(spoken_scorer, tmp_path / "english" / "my.scorer")
    server = make_server("--model", tmp_path)
    models = {model["id"]: model["facts"] for model in httpx.get(f"{server.url}/v1/models").json()["data"]}
    assert list(models) == ["english", "german"] and models["german"]["language"] == "de"
    assert models["english"]["scorer"] == "my.scorer" and models["german"]["scorer"] is None
    assert models["english"]["license"] == "MIT: mine"
    silence = {"file": wav_bytes(np.zeros(16000, np.float32))}
    data = {"response_format": "verbose_json"}
    for asked, got in (
        ({}, "en-US"),
        ({"language": "de-AT"}, "de"),
        ({"model": "german"}, "de"),
        ({"model": "whisper-1"}, "en-US"),
    ):
        assert httpx.post(server.url + FILES, files=silence, data={**data, **asked}).json()["language"] == got
    answer = httpx.post(server.url + FILES, files=silence, data={"language": "fr"})
    assert answer.status_code == 404 and "de, en-US" in answer.json()["error"]["message"]


def test_models_that_do_not_fit_into_memory_are_refused_before_they_are_loaded(small_model):
    file = ModelFile.read(small_model)
    check_memory([file], 3, free=None)
    check_memory([file, file], 3, free=10**9)
    with pytest.raises(UserError, match=r"(?s)needs some .* of memory.*--threads"):
        check_memory([file, file], 3, free=len(file.data) * 20)


def test_what_lies_in_a_folder_decides_on_the_names(tmp_path, small_model):
    export = tmp_path / "mine"
    export.mkdir()
    shutil.copy(small_model, export / "output_graph.tflite")
    assert [source.name for source in find_sources(small_model)] == ["small"]
    assert [source.name for source in find_sources(export)] == ["mine"]
    assert [source.name for source in find_sources(tmp_path)] == ["mine"]
    shutil.copy(small_model, tmp_path / "b.tflite")
    (tmp_path / ".mine.123.part").mkdir()  # an export that is being written
    shutil.copy(small_model, tmp_path / ".mine.123.part" / "output_graph.tflite")
    assert [source.name for source in find_sources(tmp_path)] == ["b", "mine"]
    (export / "a.scorer").write_bytes(b"")
    assert find_sources(export)[0].scorer == export / "a.scorer"
    (export / "b.scorer").write_bytes(b"")
    with pytest.raises(UserError, match="2 scorers"):
        find_sources(export)
    shutil.copy(small_model, tmp_path / "mine.tflite")
    (export / "b.scorer").unlink()
    with pytest.raises(UserError, match="both called mine"):
        find_sources(tmp_path)
