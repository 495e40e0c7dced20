"""Whether it lives, what it counts, how it ends, and new models under way."""

import asyncio
import json
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from models.small_models import random_model
from serving.conftest import SENTENCE, wav_bytes
from serving.stream_clients import pcm
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

WAIT_S = 60
FILES = "/v1/audio/transcriptions"


def metric(server, name: str) -> float:
    """The sum of a series over its labels."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_health_has_what_monitors_look_for(http):
    assert http.get("/live").json() == {"status": "live"} and http.head("/live").status_code == 200
    assert http.get("/ready").json() == {"status": "ready"}
    found = http.get("/health").json()
    assert found.pop("uptime_s") > 0
    assert found == {"status": "ok", "model_loaded": True, "device": "cpu", "model": "small"}


def test_what_is_not_there_has_the_shape_of_openai_s_errors(http):
    for answer in (http.get("/xyzzy"), http.get("/v1/audio/transcriptions"), http.get("/v1/models/xyzzy")):
        assert answer.status_code in (404, 405)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_metrics_count_requests_refusals_audio_and_latencies(make_server, spoken_model, spoken_clip):
    server = make_server("--model", spoken_model)
    httpx.post(server.url + FILES, files={"file": spoken_clip.read_bytes()}, timeout=60)
    httpx.post(server.url + FILES, files={"file": b"no audio"}, timeout=60)
    httpx.get(f"{server.url}/any/path/at/all")

    async def talk() -> None:
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream") as stream:
            await stream.send(pcm(spoken_clip))
            assert metric(server, "deepspeech_sessions") == 1
            await stream.send('{"type": "finish"}')
            async for _ in stream:
                pass

    asyncio.run(talk())
    assert metric(server, "deepspeech_sessions") == 0
    text = httpx.get(f"{server.url}/metrics").text
    assert f'deepspeech_requests_total{{method="POST",route="{FILES}",status="200"}} 1.0' in text
    assert 'route="none",status="404"' in text and "/any/path" not in text
    assert 'deepspeech_refused_total{reason="bad_audio"} 1.0' in text
    assert metric(server, "deepspeech_audio_seconds_total") == pytest.approx(2 * 2.925, abs=0.1)
    for name in ("first_partial_seconds_count", "final_seconds_count", "sessions_opened_total"):
        assert metric(server, f"deepspeech_{name}") >= 1, name
    assert metric(server, "deepspeech_real_time_factor_count") == 2
    assert "deepspeech_lag_seconds" in text and "deepspeech_files" in text


def test_the_access_log_has_lines_of_json_without_what_was_said(make_server, spoken_model, spoken_clip, tmp_path):
    path = tmp_path / "access.log"
    server = make_server("--model", spoken_model, "--access_log", path)
    answer = httpx.post(server.url + FILES + "?key=secret-key-1", files={"file": spoken_clip.read_bytes()}, timeout=60)
    httpx.get(f"{server.url}/a%0Ab%22c")
    assert server.stop() == 0
    text = path.read_text()
    first, second = map(json.loads, text.splitlines())
    assert (first["method"], first["path"], first["status"]) == ("POST", FILES, 200)
    assert first["model"] == "output_graph_nodrop" and first["seconds"] == pytest.approx(2.93, abs=0.02)
    assert first["bytes_in"] > 90_000 and first["ms"] > 0 and first["client"] == "127.0.0.1"
    assert second["path"] == '/a\nb"c' and second["status"] == 404
    assert answer.json()["text"] == SENTENCE
    assert "dark" not in text and "secret" not in text and "LDC93S1" not in text


# --- the end ---------------------------------------------------------------------------------------------------------


def test_after_sigterm_a_stream_ends_with_its_final_and_1012_and_new_ones_are_refused(
    make_server, spoken_model, spoken_clip
):
    server = make_server("--model", spoken_model, "--grace_s", 5)
    audio = pcm(spoken_clip)
    half = 7 * 6400

    async def talk() -> tuple[list[dict], int]:
        said = []
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream") as stream:
            for place in range(0, half, 6400):
                await stream.send(audio[place : place + 6400])
            while (message := json.loads(await stream.recv()))["type"] != "partial" or len(message["text"]) < 5:
                pass
            server.process.send_signal(signal.SIGTERM)
            while httpx.get(f"{server.url}/ready").status_code == 200:
                await asyncio.sleep(0.01)
            assert httpx.get(f"{server.url}/ready").json()["phase"] == "draining"
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.ws_url + "/v1/stream")
            assert refused.value.response.status_code == 503
            late = httpx.post(server.url + FILES, files={"file": spoken_clip.read_bytes()})
            assert late.status_code == 503 and int(late.headers["retry-after"]) <= 120
            assert late.json()["error"]["code"] == "draining"
            for place in range(half, len(audio), 6400):  # the sentence may still be ended
                await stream.send(audio[place : place + 6400])
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    said.append(json.loads(await stream.recv()))
            return said, closed.value.rcvd.code

    said, code = asyncio.run(talk())
    assert code == 1012 and [m["text"] for m in said if m["type"] == "final"] == [SENTENCE]
    assert server.ended() == 0
    assert "Traceback" not in server.err


def test_after_sigterm_a_file_in_work_is_answered(make_server, small_model):
    server = make_server("--model", small_model)
    noise = wav_bytes(np.random.default_rng(0).uniform(-0.5, 0.5, 120 * 16000).astype(np.float32))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, server.url + FILES, files={"file": noise}, timeout=60)
        while metric(server, "deepspeech_files") == 0:
            time.sleep(0.01)
        assert server.stop() == 0
        assert answer.result().status_code == 200


def test_a_server_that_nobody_uses_ends_at_once_and_ctrl_c_has_its_own_code(make_server, small_model):
    begin = time.monotonic()
    assert make_server("--model", small_model).stop(signal.SIGINT) == 130
    assert time.monotonic() - begin < 30


def test_the_grace_time_is_the_most_that_a_stream_gets(make_server, small_model):
    server = make_server("--model", small_model, "--grace_s", 1)

    async def talk() -> int:
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream?endpointing=0") as stream:
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await stream.send(bytes(3200))
                    await asyncio.sleep(0.05)
            return closed.value.rcvd.code

    assert asyncio.run(talk()) == 1012
    assert server.ended() == 0


# --- load ------------------------------------------------------------------------------------------------------------


def test_live_answers_while_there_is_three_times_too_much_to_do(make_server, tmp_path):
    (tmp_path / "large.tflite").write_bytes(random_model(n_hidden=512))
    server = make_server("--model", tmp_path / "large.tflite", "--max_behind_s", 600)
    noise = np.random.default_rng(0).integers(-9000, 9000, 60 * 16000, np.int16).tobytes()
    over = threading.Event()

    async def flood() -> None:
        async with connect(server.ws_url + "/v1/stream?beam_width=100&endpointing=0") as stream:
            for place in range(0, len(noise), 32000):
                if over.is_set():
                    return
                await stream.send(noise[place : place + 32000])
            while not over.is_set():
                await asyncio.sleep(0.05)

    async def flood_all() -> None:
        await asyncio.gather(*(flood() for _ in range(6)))

    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(asyncio.run, flood_all())
        try:
            deadline = time.monotonic() + WAIT_S
            while metric(server, "deepspeech_lag_seconds") < 10 and time.monotonic() < deadline:
                time.sleep(0.05)
            taken = []
            for _ in range(10):
                begin = time.monotonic()
                assert httpx.get(f"{server.url}/live", timeout=30).status_code == 200
                taken.append(time.monotonic() - begin)
                time.sleep(0.1)
            assert metric(server, "deepspeech_lag_seconds") > 3, "the load was none"
            assert sorted(taken)[5] < 2, taken
        finally:
            over.set()
        flooding.result(WAIT_S)


def test_a_client_that_says_nothing_at_all_is_cut_off(monkeypatch):
    from deepspeech_training.serving import ports
    from deepspeech_training.serving.limits import Limits

    monkeypatch.setattr(ports, "HEAD_S", 0.3)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def attempt() -> None:
        with ports.listen("127.0.0.1", 0, "--port") as listener:
            number = listener.getsockname()[1]
            async with asyncio.timeout(WAIT_S), ports.running(app, listener, None, Limits()):
                for head in (b"", b"GET / HTTP/1.1\r\nHost:"):
                    reader, writer = await asyncio.open_connection("127.0.0.1", number)
                    writer.write(head)
                    assert await reader.read() == b""
                    writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", number)
                for _ in range(2):  # a connection that is kept is not cut off between two requests
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert b"200 OK" in await reader.readuntil(b"ok")
                    await asyncio.sleep(0.5)
                writer.close()

    asyncio.run(attempt())


# --- models ----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "there is no such file or folder"),
        (lambda path: path.mkdir() or path, "no .tflite in it"),
        (lambda path: (path.write_bytes(b"") and None) or path, "the file is empty"),
        (lambda path: path.write_bytes(random_model()[:-3000]) and path, "damaged"),
    ],
)
def test_a_path_that_is_no_model_is_refused_before_anything_is_served(make_server, tmp_path, make, said):
    server = make_server("--model", make(tmp_path / "x"), wait=False)
    assert server.ended() == 1 and said in server.err and str(tmp_path / "x") in server.err
    assert "Listening" not in server.out and "Traceback" not in server.err


def test_a_scorer_of_another_alphabet_is_refused(make_server, tmp_path, spoken_scorer):
    from deepspeech_training.alphabet import Alphabet

    (tmp_path / "x.tflite").write_bytes(random_model(alphabet=Alphabet([" ", "x", "y"])))
    server = make_server("--model", tmp_path / "x.tflite", "--scorer", spoken_scorer, wait=False)
    assert server.ended() == 1 and "alphabet" in server.err and "Traceback" not in server.err


def test_a_port_that_is_taken_is_told(make_server, small_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        server = make_server("--model", small_model, "--port", number, wait=False)
        assert server.ended() == 1 and f"--port {number}" in server.err and "in use" in server.err


@pytest.mark.parametrize(
    "flags",
    [
        ("--max_sessions", 0),
        ("--port", 70000),
        ("--max_upload_mb", -1),
        ("--access_log", "/none/x"),
        ("--wyoming_mdns",),
    ],
)
def test_flags_out_of_bounds_are_named(make_server, small_model, flags):
    server = make_server("--model", small_model, *flags, wait=False)
    assert server.ended() == 2 and flags[0] in server.err and "Traceback" not in server.err
