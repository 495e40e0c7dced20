"""OpenAI's Realtime API, for transcription, with the client of the package `openai`, and messages that are none."""

import asyncio
import base64
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from openai import AsyncOpenAI
from soxr import resample
from stream_clients import PAUSE, SENTENCE, WAIT_S, cuts, pcm, refusal
from websockets.asyncio.client import connect

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
MANUAL = {"turn_detection": None}


@pytest.fixture(scope="session")
def clip(spoken_clip) -> bytes:
    return pcm(spoken_clip)


@pytest.fixture(scope="session")
def url(spoken_server) -> str:
    return spoken_server.ws_url + "/v1/realtime?intent=transcription"


def settings(rate: int = 16000, **fields) -> dict:
    return {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm", "rate": rate}, **fields}}}


async def with_client(server, work: Callable, until: Callable[[list], bool]) -> list:
    """All events that OpenAI's client reads, until a condition holds; `work` sends meanwhile."""
    events: list = []
    openai = AsyncOpenAI(base_url=server.url + "/v1", api_key="nobody-asks")
    connecting = openai.realtime.connect(extra_query={"intent": "transcription"})
    async with asyncio.timeout(WAIT_S), openai, connecting as connection:
        sender = asyncio.create_task(work(connection))
        async for event in connection:
            events.append(event)
            if until(events):
                break
        await sender
    return events


async def append(connection, audio: bytes, size: int = 4800) -> None:
    for part in cuts(audio, size):
        await connection.input_audio_buffer.append(audio=base64.b64encode(part).decode())


def completed(number: int) -> Callable[[list], bool]:
    return lambda events: sum(event.type == COMPLETED for event in events) == number


def of(events: list, kind: str) -> list:
    return [event for event in events if event.type == kind]


def deltas_are_the_transcripts(events: list) -> None:
    for item in of(events, COMPLETED):
        deltas = [event.delta for event in of(events, DELTA) if event.item_id == item.item_id]
        assert "".join(deltas) == item.transcript


def test_turns_end_by_themselves_and_deltas_add_up_to_their_transcripts(spoken_server, clip):
    async def speak(connection):
        vad = {"type": "server_vad", "silence_duration_ms": 700}
        await connection.session.update(session=settings(turn_detection=vad, transcription={"model": "whisper-1"}))
        await append(connection, clip + PAUSE + clip + PAUSE)

    events = asyncio.run(with_client(spoken_server, speak, completed(2)))
    kinds = [event.type for event in events if event.type != DELTA]
    turn = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        COMPLETED,
    ]
    assert kinds == ["session.created", "session.updated", *turn, *turn]
    deltas_are_the_transcripts(events)
    first, second = of(events, COMPLETED)
    assert first.transcript.startswith("she had your dark suit")
    assert first.usage.type == "duration"
    assert first.usage.seconds > 2.5
    assert [event.previous_item_id for event in of(events, "input_audio_buffer.committed")] == [None, first.item_id]
    started, stopped = of(events, turn[0]), of(events, turn[1])
    assert [event.item_id for event in started] == [first.item_id, second.item_id]
    assert started[0].audio_start_ms < stopped[0].audio_end_ms < started[1].audio_start_ms
    ids = [event.event_id for event in events]
    assert len(set(ids)) == len(ids)


def test_without_turn_detection_the_client_says_when_a_turn_ends(spoken_server, clip):
    async def speak(connection):
        await connection.session.update(session=settings(**MANUAL))
        await append(connection, clip)
        await connection.input_audio_buffer.commit()
        await append(connection, PAUSE)
        await connection.input_audio_buffer.clear()
        await append(connection, clip)
        await connection.input_audio_buffer.commit()

    events = asyncio.run(with_client(spoken_server, speak, completed(2)))
    deltas_are_the_transcripts(events)
    first, second = of(events, COMPLETED)
    assert first.transcript == SENTENCE
    assert second.transcript.startswith("she had your")
    assert [round(event.usage.seconds, 1) for event in (first, second)] == [2.9, 2.9]
    assert not of(events, "input_audio_buffer.speech_started")
    assert of(events, "input_audio_buffer.cleared")


def test_text_comes_while_somebody_speaks(make_server, spoken_model, clip):
    server = make_server("--model", spoken_model)  # greedy: what it has heard stays

    async def speak(connection):
        await connection.session.update(session=settings(**MANUAL))
        await append(connection, clip + clip + clip)
        await connection.input_audio_buffer.commit()

    events = asyncio.run(with_client(server, speak, completed(1)))
    kinds = [event.type for event in events]
    assert kinds.index(DELTA) < kinds.index("input_audio_buffer.committed")
    assert len(of(events, DELTA)) > 2
    deltas_are_the_transcripts(events)


def test_settings_that_change_in_between_hold_for_the_audio_after_them(spoken_server, spoken_clip, clip):
    narrow = pcm(spoken_clip.parent / "LDC93S1_pcms16le_1_8000.wav")

    async def speak(connection):
        await connection.session.update(session=settings(**MANUAL))
        await append(connection, clip)
        await connection.session.update(session=settings(8000, **MANUAL))
        await append(connection, narrow)
        await connection.input_audio_buffer.commit()

    events = asyncio.run(with_client(spoken_server, speak, completed(2)))
    deltas_are_the_transcripts(events)
    first, second = of(events, COMPLETED)
    assert first.transcript == SENTENCE
    assert second.transcript
    assert round(second.usage.seconds, 1) == 2.9
    formats = [event.session.audio.input.format.rate for event in of(events, "session.updated")]
    assert formats == [16000, 8000]


async def raw(url: str, messages: list, *, until: str, **options) -> list[dict]:
    """Send JSON as it is; all events until one of a type."""
    events: list[dict] = []
    async with asyncio.timeout(WAIT_S), connect(url, max_queue=None, **options) as socket:
        for message in messages:
            await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        while not events or events[-1]["type"] != until:
            events.append(json.loads(await socket.recv()))
    return events


def appended(audio: bytes) -> dict:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}


def test_the_beta_of_the_api_is_understood(url, clip):
    audio = resample(np.frombuffer(clip, np.int16), 16000, 24000).tobytes()
    update = {
        "type": "transcription_session.update",
        "session": {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gpt-4o-transcribe", "prompt": "", "language": "en"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5},
            "input_audio_noise_reduction": {"type": "near_field"},
        },
    }
    messages = [update, *(appended(part) for part in cuts(audio, 9600)), {"type": "input_audio_buffer.commit"}]
    events = asyncio.run(raw(url, messages, until=COMPLETED))
    kinds = [event["type"] for event in events]
    assert kinds[1] == "transcription_session.updated"
    assert events[1]["session"]["turn_detection"]["silence_duration_ms"] == 500
    assert "conversation.item.created" in kinds
    assert events[-1]["transcript"].startswith("she had your dark suit")


def test_browsers_may_name_a_subprotocol(url):
    async def talk():
        names = ["realtime", "openai-insecure-api-key.nobody-asks", "openai-beta.realtime-v1"]
        async with asyncio.timeout(WAIT_S), connect(url, subprotocols=names) as socket:
            return socket.subprotocol, json.loads(await socket.recv())["type"]

    assert asyncio.run(talk()) == ("realtime", "session.created")


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("no json", "no JSON"),
        ("[" * 50_000, "no JSON"),
        ("7", "object"),
        (b"\0\0", "base64"),
        ({"type": "dance"}, "dance"),
        ({}, "no event"),
        ({"type": {"a": 1}}, "no event"),
        ({"type": "response.create"}, "response.create"),
        ({"type": "input_audio_buffer.append"}, "base64"),
        ({"type": "input_audio_buffer.append", "audio": "%%%"}, "base64"),
        ({"type": "input_audio_buffer.append", "audio": 1e99}, "base64"),
        ({"type": "input_audio_buffer.append", "audio": "\ud800"}, "base64"),
        ({"type": "session.update"}, "session"),
        ({"type": "session.update", "session": []}, "session"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "transcription"),
        ({"type": "session.update", "session": {"audio": {"input": 5}}}, "object"),
        ({"type": "session.update", "session": settings(10**30)}, "rate"),
        ({"type": "session.update", "session": settings(turn_detection={"type": "semantic_vad"})}, "server_vad"),
        ({"type": "session.update", "session": settings(turn_detection={"threshold": "loud"})}, "threshold"),
        (
            {"type": "session.update", "session": settings(turn_detection={"silence_duration_ms": 1})},
            "silence_duration_ms",
        ),
        ({"type": "session.update", "session": settings(transcription={"keywords": "a"})}, "keywords"),
        ({"type": "session.update", "session": settings(transcription={"model": "nobody"})}, "nobody"),
        ({"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}, "audio/pcm"),
        ({"type": "input_audio_buffer.commit"}, "no audio"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_event_is_answered_and_the_session_stays_open(url, spoken_server, message, named):
    if isinstance(message, dict):
        message = {**message, "event_id": "mine"}
    events = asyncio.run(raw(url, [message, {"type": "input_audio_buffer.clear"}], until="input_audio_buffer.cleared"))
    assert [event["type"] for event in events] == ["session.created", "error", "input_audio_buffer.cleared"]
    error = events[1]["error"]
    assert named in error["message"]
    assert error["event_id"] == ("mine" if isinstance(message, dict) else None)
    assert error["type"] == "invalid_request_error"
    assert "Traceback" not in spoken_server.err


def test_an_empty_turn_has_the_code_of_openai(url):
    events = asyncio.run(raw(url, [{"type": "input_audio_buffer.commit"}], until="error"))
    assert events[-1]["error"]["code"] == "input_audio_buffer_commit_empty"


def test_a_turn_without_words_is_completed_too(url):
    messages = [
        {"type": "session.update", "session": settings(**MANUAL)},
        appended(bytes(3200)),
        {"type": "input_audio_buffer.commit"},
    ]
    events = asyncio.run(raw(url, messages, until=COMPLETED))
    deltas = "".join(event["delta"] for event in events if event["type"] == DELTA)
    assert events[-1]["transcript"] == deltas
    assert events[-1]["usage"]["seconds"] == 0.1


def test_numbers_may_come_as_text_and_an_unknown_model_is_refused_before_the_handshake(url, clip):
    update = {
        "type": "session.update",
        "session": settings(turn_detection={"threshold": "0.6", "silence_duration_ms": "300"}),
    }
    messages = [update, *(appended(part) for part in cuts(clip + PAUSE, 9600))]
    events = asyncio.run(raw(url, messages, until=COMPLETED))
    assert events[1]["session"]["audio"]["input"]["turn_detection"]["threshold"] == 0.6
    assert events[-1]["transcript"].startswith("she had your")
    status, error = asyncio.run(refusal(url + "&model=nobody"))
    assert (status, error["code"]) == (404, "model_not_found")


def test_keywords_become_hot_words(url, clip):
    update = {"type": "session.update", "session": settings(**MANUAL, transcription={"keywords": ["dark:-500"]})}
    messages = [update, *(appended(part) for part in cuts(clip, 9600)), {"type": "input_audio_buffer.commit"}]
    events = asyncio.run(raw(url, messages, until=COMPLETED))
    assert "dark" not in events[-1]["transcript"]
    assert all(first["event_id"] != second["event_id"] for first, second in pairwise(events))
