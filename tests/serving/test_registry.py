"""`deepspeech serve --model REGISTRY`: what is promoted is served, and a promotion is followed without a restart."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import httpx
import pytest
from models.small_models import random_model
from stream_clients import SENTENCE, WAIT_S, cuts, of_type, own_stream, pcm
from websockets.asyncio.client import connect

from deepspeech_training.commands.main import main
from deepspeech_training.console import ERROR, Console
from deepspeech_training.registry.register import register
from deepspeech_training.registry.store import Registry


@pytest.fixture
def registry(tmp_path, spoken_model) -> Registry:
    """Version 1 of "en" knows SENTENCE and is promoted, version 2 writes nonsense and is not."""
    registry = Registry(tmp_path / "models")
    for number, promote in ((1, "always"), (2, "never")):
        export = tmp_path / f"export-{number}"
        export.mkdir()
        if number == 1:
            shutil.copy(spoken_model, export / "model.tflite")
        else:
            (export / "model.tflite").write_bytes(random_model())
        register(registry, export, name="en", promote=promote, processes=1, console=Console(level=ERROR))
    return registry


def models(registry: Registry, *words: str) -> int:
    return main(["models", *words, "--dir", str(registry.folder)])


def served(url: str) -> dict[str, str]:
    (model,) = httpx.get(f"{url}/v1/models", timeout=WAIT_S).json()["data"]
    return {"id": model["id"], "version": model["facts"]["version"]}


def wait_for_version(url: str, number: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while served(url)["version"] != str(number):
        assert time.monotonic() < deadline, served(url)
        time.sleep(0.05)


def test_a_promotion_goes_live_and_a_stream_ends_on_the_model_it_began_with(make_server, registry, spoken_clip):
    server = make_server("--model", registry.folder, "--reload_s", "0.1")
    clip, url = pcm(spoken_clip), f"{server.ws_url}/v1/stream"
    assert served(server.url) == {"id": "en", "version": "1"}

    async def across_the_promotion() -> list[dict]:
        parts = list(cuts(clip, 3200))
        async with asyncio.timeout(WAIT_S), connect(url, max_queue=None) as socket:
            for part in parts[:5]:
                await socket.send(part)
            assert models(registry, "promote", "en/2") == 0
            await asyncio.to_thread(wait_for_version, server.url, 2)
            for part in parts[5:]:
                await socket.send(part)
            await socket.send('{"type": "finish"}')
            return [json.loads(message) async for message in socket]

    said = asyncio.run(across_the_promotion())
    assert " ".join(final["text"] for final in of_type(said, "final")) == SENTENCE
    assert SENTENCE not in [final["text"] for final in of_type(asyncio.run(own_stream(url, clip)), "final")]

    assert models(registry, "rollback", "en") == 0
    wait_for_version(server.url, 1)
    (final,) = of_type(asyncio.run(own_stream(url, clip)), "final")
    assert final["text"] == SENTENCE


def test_what_is_promoted_and_damaged_then_is_refused_while_the_old_one_stays(make_server, registry):
    server = make_server("--model", registry.folder, "--reload_s", "0.1")
    damaged = registry.version("en", 2)
    assert models(registry, "promote", "en/2") == 0
    wait_for_version(server.url, 2)
    assert models(registry, "rollback", "en") == 0
    wait_for_version(server.url, 1)
    flip(damaged.model_path)
    state = registry.folder / "en" / "registry.json"
    state.write_text(state.read_text().replace('"promoted": 1', '"promoted": 2', 1))  # `promote` would refuse it
    assert "en/2" in server.said(r"cannot be used; the one before stays:\n(E .*damaged or exchanged)")
    assert served(server.url)["version"] == "1"


def test_a_promoted_version_that_somebody_deletes_stays_in_service_and_is_named(make_server, registry):
    server = make_server("--model", registry.folder, "--reload_s", "0.1")
    shutil.rmtree(registry.version("en", 1).folder)
    assert "en/1: version 1 is promoted" in server.said(r"those that are served stay:\n(W .*)")
    assert served(server.url)["version"] == "1"
    assert models(registry, "promote", "en/2") == 0
    wait_for_version(server.url, 2)
    assert server.err.count("cannot be looked for") == 1


def test_a_damaged_model_is_not_served_from_the_start(make_server, registry):
    flip(registry.version("en", 1).model_path)
    server = make_server("--model", registry.folder, wait=False)
    assert server.ended() == 1
    assert "damaged or exchanged" in server.err and "deepspeech models rollback en" in server.err


def test_a_registry_without_a_promoted_version_says_what_to_do(make_server, tmp_path, registry):
    (registry.folder / "en" / "registry.json").write_text('{"promoted": null, "before": [], "history": []}')
    server = make_server("--model", registry.folder, wait=False)
    assert server.ended() == 1 and "no version is promoted" in server.err and "deepspeech models promote" in server.err


def flip(path: Path) -> None:
    """Change one byte, as a bad disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
