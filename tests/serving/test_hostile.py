"""Whatever is sent to the service: no 500, no traceback, no end, and nobody else notices."""

import contextlib
import json
import re
import socket
import threading
import time
from urllib.parse import urlencode

import httpx
import pytest
from garbage import MESSAGES, form, frame, messages, nearly, query, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_clients import PAUSE, cuts, pcm
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from deepspeech_training.serving.app import routes
from deepspeech_training.serving.stream_client import recognised, stream_url

WAIT_S = 60
FEW = settings(max_examples=60, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=500, suppress_health_check=list(HealthCheck))
PATHS = [route.path.replace("{name}", "x").replace("{name:path}", "x") for route in routes()]


class GoodClient(threading.Thread):
    """Somebody who speaks to the service all the while, one session after the other."""

    def __init__(self, url: str, audio: bytes):
        super().__init__()
        self._url, self._audio = stream_url(url, {"rate": 16000}), audio
        self.sessions: list[list[str]] = []
        self.fault: Exception | None = None
        self.ends = threading.Event()

    def run(self) -> None:
        try:
            while not self.ends.wait(0.1):
                self.sessions.append(self.texts())
        except Exception as error:
            self.fault = error

    def texts(self) -> list[str]:
        """Of three sentences."""
        messages = recognised(self._url, cuts(3 * (self._audio + PAUSE), 6400))
        return [message["text"] for message in messages if message["type"] == "final"]


@pytest.fixture(scope="module")
def target(_servers, spoken_model, spoken_scorer, spoken_clip):
    """A server with all its ports; afterwards it must stand as before, and its good client must be content."""
    flags = ["--model", spoken_model, "--scorer", spoken_scorer, "--vosk_port", 0, "--wyoming_port", 0]
    server = _servers(*flags, "--idle_s", 5, "--max_upload_mb", 1)
    client = GoodClient(server.ws_url, pcm(spoken_clip))
    alone = client.texts()
    assert len(alone) == 3
    client.start()
    try:
        yield server
    finally:
        client.ends.set()
        client.join(WAIT_S)
    assert client.fault is None
    assert client.sessions and all(texts == alone for texts in client.sessions)
    assert server.process.poll() is None and "Traceback" not in server.err, server.err[-5000:]
    lines = [json.loads(line) for line in server.err.splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["status"] in (500, 1011)]
    assert not re.search("ERROR|Exception", "".join(line for line in server.err.splitlines() if line[:1] != "{"))
    deadline = time.monotonic() + WAIT_S
    while open_streams(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not open_streams(server)
    assert server.stop() == 0


def open_streams(server) -> float:
    lines = httpx.get(f"{server.url}/metrics", timeout=WAIT_S).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("deepspeech_sessions{"))


def port_of(server, name: str) -> int:
    return int(re.search(rf"{name}: \w+://[^:]+:(\d+)", server.err)[1])


def exchange(port: int, data: bytes, *, wait_s: float = 0.3) -> bytes:
    """Send bytes, and what comes back until the server closes or says nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        said = b""
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(wait_s)
            while part := connection.recv(65536):
                said += part
        return said


def check_requests(server, data: bytes) -> None:
    said = exchange(int(server.url.rpartition(":")[2]), data)
    assert not said or said.startswith(b"HTTP/1.1 ")
    assert all(int(status) != 500 for status in re.findall(rb"^HTTP/1.1 (\d+)", said, re.MULTILINE))


def check_form(server, headers: dict[str, str], body: bytes, path: str) -> None:
    answer = httpx.post(f"{server.url}{path}", headers=headers, content=body, timeout=WAIT_S)
    assert answer.status_code in (200, 400, 404, 413), answer.text
    if answer.status_code != 200:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def send_all(connection: ClientConnection, said: list[str | bytes], *, cut: bool) -> None:
    with contextlib.suppress(ConnectionClosed, OSError):  # OSError: of a socket that the server has closed
        for message in said:
            connection.send(message)
        if cut:
            connection.socket.shutdown(socket.SHUT_RDWR)


def check_conversation(address: str, said: list[str | bytes], *, cut: bool) -> None:
    try:
        with connect(address, open_timeout=WAIT_S, close_timeout=WAIT_S, max_queue=None, proxy=None) as connection:
            send_all(connection, said, cut=cut)
    except InvalidStatus as error:
        assert error.response.status_code in (400, 401, 403, 404), error
    else:
        received = connection.protocol.close_rcvd
        assert cut or received is None or received.code in (1000, 1003, 1007, 1008, 1009), received


def check_frames(server, path: str, frames: list[bytes]) -> None:
    port = int(server.url.rpartition(":")[2])
    handshake = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert exchange(port, handshake.encode() + b"".join(frames)).startswith(b"HTTP/1.1 101")


def check_wyoming(server, data: bytes) -> None:
    exchange(port_of(server, "Wyoming"), data)


EVENTS = [
    {"type": "describe"},
    {"type": "transcribe", "data": {"language": "en", "name": "x"}},
    {"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}},
    {"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": 4},
    {"type": "audio-stop"},
]
A_LINE = st.sampled_from(EVENTS).flatmap(lambda whole: nearly(whole) | st.just(whole)).map(json.dumps)
WYOMING = st.binary(max_size=100) | st.lists(A_LINE, max_size=5).map(lambda lines: "\nabcd".join([*lines, ""]).encode())
CONVERSATIONS = {path: st.tuples(query(path), messages(path), st.booleans()) for path in MESSAGES}
SOME_FRAMES = st.lists(frame(), min_size=1, max_size=4)
FORM_PATHS = ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/compare"]


@FEW
@given(data=request(PATHS))
def test_requests_of_any_kind(target, data):
    check_requests(target, data)


@settings(FEW, max_examples=20)
@given(data=st.data(), path=st.sampled_from(FORM_PATHS))
def test_forms_of_any_kind(target, speech_wav, data, path):
    check_form(target, *data.draw(form(speech_wav)), path)


@pytest.mark.parametrize("path", MESSAGES)
@FEW
@given(data=st.data())
def test_conversations_of_any_kind(target, path, data):
    asked, said, cut = data.draw(CONVERSATIONS[path])
    check_conversation(f"{target.ws_url}{path}?{urlencode(asked, errors='surrogatepass')}", said, cut=cut)


@FEW
@given(path=st.sampled_from(sorted(MESSAGES)), frames=SOME_FRAMES)
def test_frames_of_any_kind(target, path, frames):
    check_frames(target, path, frames)


@FEW
@given(data=WYOMING)
def test_events_of_any_kind(target, data):
    check_wyoming(target, data)


@FEW
@given(data=st.data(), cut=st.booleans())
def test_vosks_own_port(target, data, cut):
    said = data.draw(messages("/vosk"))
    check_conversation(f"ws://127.0.0.1:{port_of(target, 'Vosk')}/any/path", said, cut=cut)


@pytest.mark.slow
@pytest.mark.parametrize("path", MESSAGES)
@MANY
@given(data=st.data())
def test_very_many_conversations(target, path, data):
    asked, said, cut = data.draw(CONVERSATIONS[path])
    check_conversation(f"{target.ws_url}{path}?{urlencode(asked, errors='surrogatepass')}", said, cut=cut)


@pytest.mark.slow
@settings(MANY, max_examples=200)
@given(data=st.data(), path=st.sampled_from(FORM_PATHS), frames=SOME_FRAMES, events=WYOMING)
def test_very_much_else(target, speech_wav, data, path, frames, events):
    check_requests(target, data.draw(request(PATHS)))
    check_form(target, *data.draw(form(speech_wav)), path)
    check_frames(target, data.draw(st.sampled_from(sorted(MESSAGES))), frames)
    check_wyoming(target, events)
