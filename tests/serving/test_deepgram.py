"""Deepgram's protocol of live audio with the package `deepgram-sdk`, and with messages that are none."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from stream_clients import PAUSE, SENTENCE, WAIT_S, cuts, pcm, refusal
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

# The SDK still uses what `websockets` calls its legacy client.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets", "ignore::DeprecationWarning:deepgram")


@pytest.fixture(scope="session")
def clip(spoken_clip) -> bytes:
    return pcm(spoken_clip)


@pytest.fixture(scope="session")
def url(spoken_server) -> str:
    return spoken_server.ws_url + "/v1/listen"


def sdk(server, key: str = "nobody-asks") -> AsyncDeepgramClient:
    environment = DeepgramClientEnvironment(
        base=server.url, production=server.ws_url, agent=server.ws_url, agent_rest=server.url
    )
    return AsyncDeepgramClient(api_key=key, environment=environment)


def listen(server, work: Callable, **options) -> list:
    """All that Deepgram's client reads, from the connection to its end; `work` sends meanwhile."""

    async def run():
        wanted = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16000, **options}
        async with asyncio.timeout(WAIT_S), sdk(server).listen.v1.connect(**wanted) as connection:
            sender = asyncio.create_task(work(connection))
            messages = [message async for message in connection]
            await sender
            return messages

    return asyncio.run(run())


async def send(connection, audio: bytes) -> None:
    for part in cuts(audio, 3200):
        await connection.send_media(part)


def of(messages: list, kind: str) -> list:
    return [message for message in messages if message.type == kind]


def best(result) -> str:
    return result.channel.alternatives[0].transcript


def test_a_sentence_comes_with_words_and_then_the_facts_of_the_stream(spoken_server, clip):
    async def speak(connection):
        await send(connection, clip)
        await connection.send_close_stream()

    messages = listen(spoken_server, speak)
    result, metadata = messages
    alternative = result.channel.alternatives[0]
    assert alternative.transcript == SENTENCE
    assert 0.5 < alternative.confidence <= 1
    assert [word.word for word in alternative.words] == SENTENCE.split()
    assert all(word.start < word.end and 0 <= word.confidence <= 1 for word in alternative.words)
    assert (result.is_final, result.speech_final, result.from_finalize) == (True, True, False)
    assert result.metadata.model_info.name == "output_graph_nodrop"
    assert metadata.type == "Metadata"
    assert metadata.sha256 == hashlib.sha256(clip).hexdigest()
    assert metadata.duration == round(len(clip) / 32000, 3)
    assert metadata.request_id == result.metadata.request_id


def test_interim_results_speech_and_the_end_of_utterances_are_told_where_they_are_wanted(spoken_server, clip):
    async def speak(connection):
        await send(connection, clip + 2 * PAUSE + clip + 2 * PAUSE)
        await connection.send_close_stream()

    wanted = {"interim_results": True, "vad_events": True, "utterance_end_ms": 1000, "endpointing": 500}
    messages = listen(spoken_server, speak, **wanted)
    results = of(messages, "Results")
    assert any(not result.is_final for result in results)
    finals = [result for result in results if result.is_final and best(result)]
    assert len(finals) == 2
    assert all(result.speech_final for result in finals)
    assert finals[1].start > finals[0].start + finals[0].duration
    assert len(of(messages, "SpeechStarted")) == 2
    ends = of(messages, "UtteranceEnd")
    assert len(ends) == 2
    assert ends[0].last_word_end == finals[0].channel.alternatives[0].words[-1].end


def test_finalize_gives_what_was_heard_at_once_and_the_stream_goes_on(spoken_server, clip):
    async def speak(connection):
        await send(connection, clip)
        await connection.send_finalize()
        await connection.send_finalize()
        await connection.send_keep_alive()
        await send(connection, clip)
        await connection.send_close_stream()

    results = of(listen(spoken_server, speak, endpointing=False), "Results")
    assert [result.from_finalize for result in results] == [True, True, False]
    assert best(results[0]) == SENTENCE
    assert best(results[1]) == ""
    assert best(results[2]).startswith("she had your")


def test_alternatives_and_key_terms(spoken_server, clip):
    async def speak(connection):
        await send(connection, clip)
        await connection.send_close_stream()

    options = {
        "keyterm": ["suit", "dark suit"],
        "request_options": {"additional_query_parameters": {"alternatives": 3}},
    }
    (result,) = of(listen(spoken_server, speak, **options), "Results")
    alternatives = result.channel.alternatives
    assert len(alternatives) == 3
    assert "dark suit" in alternatives[0].transcript
    assert all(1 >= first.confidence >= second.confidence for first, second in pairwise(alternatives))
    (result,) = of(listen(spoken_server, speak, keywords="dark:-500"), "Results")
    assert "dark" not in best(result)


async def raw(url: str, messages: list, **options) -> tuple[list[dict], int, str]:
    """Send messages as they are; all that came, and how it was closed."""
    said: list[dict] = []
    async with asyncio.timeout(WAIT_S), connect(url, max_queue=None, **options) as socket:
        for message in messages:
            await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                said.append(json.loads(await socket.recv()))
        return said, closed.value.rcvd.code, closed.value.rcvd.reason


def test_an_empty_message_closes_the_stream_as_it_once_did(url, clip):
    said, code, _ = asyncio.run(raw(url + "?encoding=linear16&sample_rate=16000", [clip, b""]))
    assert [message["type"] for message in said] == ["Results", "Metadata"]
    assert code == 1000


def test_the_key_may_come_as_a_subprotocol(url):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(url, subprotocols=["token", "nobody-asks"]) as socket:
            return socket.subprotocol

    assert asyncio.run(talk()) == "token"


def test_silence_without_keep_alive_ends_the_stream(make_server, small_model):
    server = make_server("--model", small_model, "--idle_s", 1)
    said, code, reason = asyncio.run(raw(server.ws_url + "/v1/listen", []))
    assert code == 1011
    assert "NET-0001" in reason
    assert [message["type"] for message in said] == ["Metadata", "Error"]


def test_a_client_that_names_no_encoding_may_send_a_wav_or_samples(url, spoken_clip, clip):
    for file, sent in (("LDC93S1.wav", None), ("LDC93S1_pcms16le_2_44100.wav", None), ("", clip)):
        audio = sent or (spoken_clip.parent / file).read_bytes()
        said, code, _ = asyncio.run(raw(url, [*cuts(audio, random.Random(2)), {"type": "CloseStream"}]))
        assert said[0]["channel"]["alternatives"][0]["transcript"] == SENTENCE
        assert [message["type"] for message in said] == ["Results", "Metadata"]
        assert code == 1000
    said, code, _ = asyncio.run(raw(url, [b"RIFF", {"type": "CloseStream"}]))  # four samples after all
    assert [message["type"] for message in said] == ["Results", "Metadata"]


def test_compressed_audio_is_named_and_refused(url, spoken_server, spoken_clip):
    for file, kind in (("LDC93S1.ogg", "Ogg"), ("LDC93S1.flac", "FLAC")):
        said, code, reason = asyncio.run(raw(url, [(spoken_clip.parent / file).read_bytes()]))
        assert said[-1]["type"] == "Error"
        assert kind in said[-1]["description"]
        assert (code, "linear16" in reason) == (1008, True)
    for header in (b"RIFF\0\0\0\0WAVEfmt " + bytes(100), b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\xff" + bytes(20)):
        _, code, reason = asyncio.run(raw(url, [header]))
        assert (code, "WAV" in reason) == (1008, True)
    assert "Traceback" not in spoken_server.err


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("encoding=opus", "linear16"),
        ("encoding=linear16&sample_rate=1e99", "sample_rate"),
        ("sample_rate=much", "sample_rate"),
        ("channels=99", "channels"),
        ("endpointing=soon", "endpointing"),
        ("multichannel=true", "multichannel"),
        ("redact=pci", "redact"),
        ("callback=http%3A%2F%2Fexample.org", "callback"),
        ("alternatives=0", "alternatives"),
        ("keywords=a:b", "keywords"),
        ("model=nobody", "nobody"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_handshake(url, query, named):
    status, error = asyncio.run(refusal(f"{url}?{query}"))
    assert status in (400, 404)
    assert named in error["message"]


def test_the_sdk_tells_of_a_refusal(spoken_server):
    async def nothing(connection):
        raise AssertionError

    with pytest.raises(ApiError) as refused:
        listen(spoken_server, nothing, encoding="opus")
    assert refused.value.status_code == 400


@pytest.mark.parametrize("message", ["no json", "[]", {"type": "dance"}, {}, {"type": [1]}, "[" * 50_000, "\ud7ff"])
def test_a_message_that_is_none_is_answered_and_the_stream_goes_on(url, spoken_server, clip, message):
    query = "?encoding=linear16&sample_rate=16000"
    said, code, _ = asyncio.run(raw(url + query, [message, clip, {"type": "CloseStream"}]))
    assert [part["type"] for part in said] == ["Error", "Results", "Metadata"]
    assert said[0]["variant"] == "SchemaError"
    assert said[0]["description"]
    assert said[1]["channel"]["alternatives"][0]["transcript"] == SENTENCE
    assert code == 1000
    assert "Traceback" not in spoken_server.err
