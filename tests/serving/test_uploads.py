"""Bodies that are too large, too slow or cut off: a sentence names the flag, and nothing is left of them."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from audio.phone_recordings import recording
from serving.conftest import wav_bytes

URL = "/v1/audio/transcriptions"
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@pytest.fixture(scope="module")
def strict(_servers, small_model):
    flags = {"max_upload_mb": 1, "idle_s": 1, "max_audio_s": 60, "max_files": 2, "max_waiting": 1}
    return _servers("--model", small_model, *[word for name, value in flags.items() for word in (f"--{name}", value)])


def post(server, headers: str, body: bytes, *, then_wait: bool = False) -> bytes:
    """What a server answers to a request that is written by hand, sent in full even if the answer comes before."""
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=30) as connection:
        head = (
            f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n{headers}\r\n"
        )
        connection.sendall(head.encode() + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
            if b"}}" in answer and not then_wait:
                break
        return answer


def test_a_length_over_the_limit_is_refused_by_the_header(strict):
    body = HEAD + bytes(3 << 20)
    answer = post(strict, f"Content-Length: {len(body)}\r\n", body)
    assert b" 413 " in answer and b"--max_upload_mb" in answer and b"too_large" in answer


def test_a_length_that_is_not_told_is_counted_while_reading(strict):
    chunk = HEAD + bytes(2 << 20)
    answer = post(strict, "Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk))
    assert b" 413 " in answer and b"--max_upload_mb" in answer


def test_a_client_that_asks_before_is_refused_at_once(strict):
    answer = post(strict, "Content-Length: 999999999\r\nExpect: 100-continue\r\n", b"")
    assert b" 413 " in answer and b"100 Continue" not in answer


def test_a_body_that_stops_coming_is_given_up(strict):
    begin = time.monotonic()
    answer = post(strict, "Content-Length: 10000\r\n", HEAD)
    assert b" 400 " in answer and b"--idle_s" in answer and time.monotonic() - begin < 20


def test_a_body_that_comes_by_the_byte_is_given_up_too(strict):
    host, port = strict.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(f"{head}Content-Length: 10000\r\n\r\n".encode() + HEAD)
        connection.setblocking(False)
        begin, answer = time.monotonic(), b""
        while b"}}" not in answer and time.monotonic() < begin + 30:
            time.sleep(0.1)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                answer += connection.recv(65536)
            if not answer:
                connection.send(b"-")
    assert b" 400 " in answer and b"next to nothing" in answer


def test_audio_that_is_too_long_is_refused_however_small_its_file_is(strict):
    quiet = wav_bytes(np.zeros(61 * 4000, np.float32), 4000)
    answer = httpx.post(strict.url + URL, files={"file": quiet}, timeout=60)
    assert answer.status_code == 413 and "--max_audio_s 60" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "too_long"


def test_more_uploads_than_allowed_are_refused_at_once_and_the_others_go_on(strict, speech_wav):
    address = strict.url.removeprefix("http://").split(":")
    open_ones = []
    try:
        for _ in range(2):
            connection = socket.create_connection((address[0], int(address[1])), timeout=30)
            head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            connection.sendall(f"{head}Content-Length: 10000\r\n\r\n".encode() + HEAD)
            open_ones.append(connection)
        deadline = time.monotonic() + 30
        answer = httpx.post(strict.url + URL, files={"file": speech_wav})
        while answer.status_code == 200 and time.monotonic() < deadline:  # the two may not have been read yet
            answer = httpx.post(strict.url + URL, files={"file": speech_wav})
        assert answer.status_code == 429 and "--max_files" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) <= 5
    finally:
        for connection in open_ones:
            connection.close()
    deadline = time.monotonic() + 30
    while httpx.post(strict.url + URL, files={"file": speech_wav}).status_code != 200:
        assert time.monotonic() < deadline, "clients that vanish keep their places"
        time.sleep(0.1)


def test_a_client_that_vanishes_while_its_file_is_recognised_gives_its_turn_to_the_next(make_server, small_model):
    server = make_server("--model", small_model, "--max_waiting", 1)
    hour = wav_bytes(np.random.default_rng(0).uniform(-0.5, 0.5, 1800 * 16000).astype(np.float32))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + URL, files={"file": hour}, timeout=httpx.Timeout(60, read=0.5))
    assert httpx.post(server.url + URL, files={"file": wav_bytes(np.zeros(16000, np.float32))}, timeout=60).is_success
    assert server.stop() == 0
    assert '"status": 499' in server.err


def test_large_uploads_leave_no_files_behind(server, speech_wav):
    def open_files() -> int:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    silence = wav_bytes(np.zeros(60 * 16000, np.float32))  # more than Starlette keeps in memory
    httpx.post(server.url + URL, files={"file": silence}, timeout=60)
    before = open_files()
    threads = [
        threading.Thread(target=lambda: httpx.post(server.url + URL, files={"file": silence}, timeout=60))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 30
    while open_files() > before + 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert open_files() <= before + 1


def test_names_of_files_are_no_paths(server, speech_wav):
    for name in ("../../etc/passwd", "/etc/passwd", "a\0b.wav", "x" * 500, "file:///etc/passwd", "é😀.wav"):
        answer = httpx.post(server.url + URL, files={"file": (name, speech_wav)}, timeout=60)
        assert answer.status_code == 200, answer.text


def test_a_client_that_leaves_takes_the_decoder_of_its_file_with_it(server, http, speech_wav):
    """The decoder is stopped, so it would last for the five minutes that one may take, and keep the files of others."""
    body = HEAD.replace(b"a.wav", b"a.webm") + recording("webm", seconds=60) + b"\r\n--x--\r\n"
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=30) as connection:
        head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        decoder = within(30, lambda: decoder_of(server.process.pid))
        os.kill(decoder, signal.SIGSTOP)
    assert within(30, lambda: not decoder_of(server.process.pid))
    assert http.post(URL, files={"file": ("a.wav", speech_wav)}).status_code == 200


def decoder_of(server: int) -> int | None:
    """The process that decodes for a server."""
    for child in Path(f"/proc/{server}/task").glob("*/children"):
        for process in child.read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if b"decoding_process" in Path(f"/proc/{process}/cmdline").read_bytes():
                    return int(process)
    return None


def within(seconds: float, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found
