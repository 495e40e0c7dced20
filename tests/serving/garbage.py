"""What hostile clients send: requests, forms, queries and messages that are nearly right, or not at all."""

import json
import os
import random
from typing import Any

from hypothesis import strategies as st

# JSON with all that its grammar allows and a server may stumble over.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["", "NaN", "-1", "1e999", "0x10", "\ud800", "\x00", "a" * 5000, "../../etc/passwd", "١٢"]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
)
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["1", "0", "true", "-1", "16000", "nan", "1e400", "48000", "", "a:1", '{"a": 1}', "[[]]", "whisper-1"]
    ),
)

QUERIES = {
    "/v1/stream": "model language rate format channels words alternatives partials beam_width scorer alpha beta "
    "hot_words endpointing hangover_s min_s max_s aggressiveness key nonsense",
    "/v1/realtime": "intent model key nonsense",
    "/v1/listen": "encoding sample_rate channels model language interim_results endpointing keyterm keywords "
    "utterance_end_ms vad_events alternatives multichannel nonsense",
    "/vosk": "nonsense",
}
# One of each message of each protocol.
MESSAGES: dict[str, list[Any]] = {
    "/v1/stream": [
        {"type": "start", "rate": 8000, "hot_words": {"a": 1}, "words": True, "max_s": 5, "model": ""},
        {"type": "flush"},
        {"type": "ping"},
        {"type": "finish"},
    ],
    "/vosk": [
        {"config": {"sample_rate": 16000.0, "words": True, "max_alternatives": 3, "phrase_list": ["she", "had"]}},
        {"reset": 1},
        {"eof": 1},
    ],
    "/v1/realtime": [
        {
            "type": "session.update",
            "event_id": "a",
            "session": {
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "", "language": "en", "keywords": ["she"], "prompt": ""},
                        "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 300},
                        "noise_reduction": None,
                    }
                },
            },
        },
        {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16", "turn_detection": None}},
        {"type": "input_audio_buffer.append", "audio": "AAAA" * 300},
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear"},
    ],
    "/v1/listen": [{"type": "KeepAlive"}, {"type": "Finalize"}, {"type": "CloseStream"}],
}
FIELDS = {
    "model": "whisper-1",
    "response_format": "verbose_json",
    "language": "en",
    "timestamp_granularities[]": "word",
    "keywords[]": "she",
    "hot_words": "she:5",
    "stream": "true",
    "temperature": "0",
    "alternatives": "3",
    "beam_width": "10",
    "alpha": "1",
    "beta": "1",
    "scorer": "1",
}
NOISE = bytes(random.Random(1).randbytes(6000))


@st.composite
def nearly(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value in which something is another one, is missing, or is there besides."""
    if draw(st.integers(0, 3)) == 0 or not isinstance(whole, dict | list) or not whole:
        return draw(JSON)
    if isinstance(whole, list):
        return [draw(nearly(whole[0])), *whole[1:]]
    name = draw(st.sampled_from(sorted(whole)))
    match draw(st.integers(0, 3)):
        case 0:
            return {key: value for key, value in whole.items() if key != name}
        case 1:
            return {**whole, draw(st.text(max_size=10)): draw(JSON)}
        case _:
            return {**whole, name: draw(nearly(whole[name]))}


def messages(path: str) -> st.SearchStrategy[list[str | bytes]]:
    """A conversation: right, nearly right and senseless messages, and sound of any length."""
    right = st.sampled_from(MESSAGES[path])
    texts = st.one_of(
        right.map(json.dumps),
        right.flatmap(nearly).map(json.dumps),
        JSON.map(json.dumps),
        st.text(max_size=50),
        st.sampled_from(["[" * 5000, "{}", "null", '{"type":', '{"eof" : 1', "1" * 5000]),
    )
    sound = st.one_of(
        st.binary(max_size=50),
        st.integers(0, len(NOISE)).map(lambda length: NOISE[:length]),
        st.just(bytes(9000)),
        st.just(b"\xff" * 4001),
    )
    return st.lists(st.one_of(texts, sound), max_size=8)


def query(path: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(st.sampled_from(QUERIES[path].split()), WORDS), max_size=3)


@st.composite
def form(draw: st.DrawFn, file: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of an upload."""
    boundary = draw(st.sampled_from(["b", "x" * 70, "--", "a b"]))
    parts = []
    for name, value in draw(st.lists(st.sampled_from(sorted(FIELDS.items())), max_size=4)):
        value = draw(st.sampled_from([value, value]) | WORDS)
        parts.append((f'form-data; name="{name}"', value.encode("utf-8", "surrogatepass")))
    content = draw(st.sampled_from([file, file[: len(file) // 2], file[:44], b""]) | st.binary(max_size=100))
    name = draw(st.sampled_from(['; filename="a.wav"', '; filename="../../x\\".wav"', "; filename*=utf-8''%00", ""]))
    parts.append((f'form-data; name="file"{name}', content))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n".encode("utf-8", "surrogatepass") + part + b"\r\n"
        for head, part in parts
    )
    body += f"--{boundary}--\r\n".encode()
    match draw(st.integers(0, 4)):
        case 0:
            body = body[: draw(st.integers(0, len(body)))]
        case 1:
            at = draw(st.integers(0, len(body)))
            body = body[:at] + draw(st.binary(max_size=20)) + body[at:]
        case 2:
            body = draw(st.binary(max_size=200))
    kinds = [f"multipart/form-data; boundary={boundary}", "multipart/form-data", "application/json", "multipart/x"]
    return {"Content-Type": draw(st.sampled_from([kinds[0], kinds[0], *kinds]))}, body


HEADER_NAMES = ["Host", "Origin", "Authorization", "X-API-Key", "Content-Type", "Content-Length", "Expect", "Upgrade"]
HEADER_NAMES += ["Transfer-Encoding", "Connection", "Sec-WebSocket-Protocol", "Accept-Encoding", "Cookie", "Range", "X"]
HEADER_VALUES = ["", "a", "Bearer", "chunked", "-1", "9" * 20, "websocket", "100-continue", "127.0.0.1", "http://[::1"]
HEADER_VALUES += ["multipart/form-data", "text/html; charset=x", "deepspeech, deepspeech-key.\xe9", "\xff"]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get", "X" * 40]
ENDS_OF_PATHS = ["", "", "", "/", "//", "?a=%ff&a&=", "/../..", "%00", "\xff", "?" + "x" * 9000]


@st.composite
def request(draw: st.DrawFn, paths: list[str]) -> bytes:
    """A request as bytes: right enough to be read, mostly."""
    method = draw(st.sampled_from(METHODS))
    path = draw(st.sampled_from(paths)) + draw(st.sampled_from(ENDS_OF_PATHS))
    headers = draw(st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.sampled_from(HEADER_VALUES)), max_size=4))
    if draw(st.booleans()):
        headers = [("Host", "127.0.0.1"), *headers]
    body = draw(st.binary(max_size=60))
    if draw(st.booleans()):
        headers.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    data = "\r\n".join(lines).encode("latin-1") + body
    match draw(st.integers(0, 5)):
        case 0:
            data = data[: draw(st.integers(0, len(data)))]
        case 1:
            at = draw(st.integers(0, len(data)))
            data = data[:at] + draw(st.binary(max_size=10)) + data[at:]
    return data


@st.composite
def frame(draw: st.DrawFn) -> bytes:
    """A frame of a websocket, masked as a client's must be or not, with any opcode and length."""
    payload = draw(st.binary(max_size=130))
    first = draw(st.integers(0, 255))
    length = draw(st.sampled_from([len(payload)] * 4 + [126, 127, 2**20, 2**63, 2**64 - 1]))
    masked = 128 * draw(st.booleans())
    if length < 126:
        head = bytes([first, masked | length])
    elif length < 2**16:
        head = bytes([first, masked | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, masked | 127]) + length.to_bytes(8, "big")
    return head + (os.urandom(4) if masked else b"") + payload
