"""The Wyoming protocol with the client of its own package, and with bytes that no client would send."""

import asyncio
import contextlib
import json
import socket
import warnings

import pytest
from stream_clients import PAUSE, SENTENCE, WAIT_S, cuts, line_of, pcm
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.ping import Ping, Pong
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

with warnings.catch_warnings():  # it imports audioop where there still is one
    warnings.simplefilter("ignore", DeprecationWarning)
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.info import Describe, Info

FORMAT = {"rate": 16000, "width": 2, "channels": 1}


def port_of(server) -> int:
    return int(line_of(server, r"Wyoming: tcp://[^:]+:(\d+)"))


@pytest.fixture(scope="module")
def wyoming_server(_servers, spoken_model, spoken_scorer):
    flags = ("--model", spoken_model, "--scorer", spoken_scorer, "--wyoming_port", 0, "--max_sessions", 1)
    server = _servers(*flags, "--idle_s", 3)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def port(wyoming_server) -> int:
    return port_of(wyoming_server)


def client(port: int) -> AsyncTcpClient:
    return AsyncTcpClient("127.0.0.1", port, connect_timeout=WAIT_S, read_timeout=WAIT_S)


async def send(wyoming: AsyncTcpClient, audio: bytes, *, transcribe: Transcribe | None = None) -> None:
    if transcribe is not None:
        await wyoming.write_event(transcribe.event())
    await wyoming.write_event(AudioStart(**FORMAT).event())
    for part in cuts(audio, 2048):
        await wyoming.write_event(AudioChunk(audio=part, **FORMAT).event())
    await wyoming.write_event(AudioStop().event())


async def told(wyoming: AsyncTcpClient) -> list[Event]:
    """All events up to the transcript, or to the end."""
    events = []
    while (event := await wyoming.read_event()) is not None:
        events.append(event)
        if Transcript.is_type(event.type):
            break
    return events


def test_describe_is_answered_with_the_models(port):
    async def talk():
        async with client(port) as wyoming:
            await wyoming.write_event(Describe().event())
            return await wyoming.read_event()

    info = Info.from_event(asyncio.run(talk()))
    (program,) = info.asr
    assert program.installed
    assert program.supports_transcript_streaming
    (model,) = program.models
    assert (model.name, model.installed) == ("output_graph_nodrop", True)
    assert model.languages


def test_a_command_gets_its_text_in_pieces_that_only_add_and_as_a_whole(port, spoken_clip):
    async def talk():
        async with client(port) as wyoming:
            await send(wyoming, pcm(spoken_clip), transcribe=Transcribe(transcript_names=["year"]))
            return await told(wyoming)

    events = asyncio.run(talk())
    assert TranscriptStart.is_type(events[0].type)
    assert TranscriptStop.is_type(events[-2].type)
    chunks = [TranscriptChunk.from_event(event).text for event in events[1:-2]]
    assert "".join(chunks) == Transcript.from_event(events[-1]).text == SENTENCE


def test_one_transcript_holds_all_sentences_and_a_connection_serves_for_another(port, spoken_clip):
    async def talk():
        async with client(port) as wyoming:
            texts = []
            for audio in (pcm(spoken_clip), b"", bytes(32000)):
                await send(wyoming, audio)
                texts.append(Transcript.from_event((await told(wyoming))[-1]).text)
            return texts

    assert asyncio.run(talk())[:2] == [SENTENCE, ""]


def test_one_session_more_than_allowed_gets_an_error_and_the_first_goes_on(port, spoken_clip):
    async def talk():
        async with client(port) as first, client(port) as second:
            await first.write_event(AudioStart(**FORMAT).event())
            await first.write_event(Ping(text="still there?").event())
            assert Pong.is_type((await first.read_event()).type)
            await second.write_event(AudioStart(**FORMAT).event())
            refusal = await told(second)
            await send(first, pcm(spoken_clip))
            return refusal, Transcript.from_event((await told(first))[-1]).text

    refusal, text = asyncio.run(talk())
    assert Error.from_event(refusal[0]).code == "overloaded"
    assert "--max_sessions" in Error.from_event(refusal[0]).text
    assert len(refusal) == 1
    assert text == SENTENCE


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (Transcribe(name="nobody").event(), "nobody"),
        (AudioStart(rate=16000, width=4, channels=1).event(), "2 bytes"),
        (AudioStart(rate=10**400, width=2, channels=1).event(), "rate"),
        (Event("audio-start", {"rate": "fast"}), "rate"),
        (Event("transcribe", {"transcript_terms": [{"a": 1}]}), "transcript_terms"),
    ],
    ids=["model", "width", "huge rate", "no rate", "terms"],
)
def test_what_cannot_be_done_is_an_error_event_and_then_the_end(port, wyoming_server, event, named):
    async def talk():
        async with client(port) as wyoming:
            await wyoming.write_event(event)
            with contextlib.suppress(ConnectionError):  # it may have ended
                await wyoming.write_event(AudioStart(**FORMAT).event())
            return await told(wyoming)

    events = asyncio.run(talk())
    assert named in Error.from_event(events[0]).text
    assert len(events) == 1
    assert "Traceback" not in wyoming_server.err


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b"{}\n",
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "audio-chunk", "payload_length": -1}\n',
        b'{"type": "describe", "data_length": "much"}\n',
        b'{"type": "describe", "data": [1]}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000,
        b"\xff\xfe\n",
    ],
    ids=lambda garbage: repr(garbage[:30]),
)
def test_bytes_that_are_no_event_get_an_error_event_and_then_the_end(port, wyoming_server, garbage):
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        connection.sendall(garbage)
        answer = b""
        try:
            while part := connection.recv(4096):
                answer += part
        except ConnectionResetError:
            pass  # what it had not read of the garbage
    if len(garbage) < 100_000:
        assert json.loads(answer.split(b"\n")[0])["type"] == "error"
    assert "Traceback" not in wyoming_server.err


def test_a_client_that_vanishes_or_is_silent_gives_its_place_free(port, spoken_clip):
    async def talk():
        async with client(port) as wyoming:
            await wyoming.write_event(AudioStart(**FORMAT).event())
            await wyoming.write_event(AudioChunk(audio=PAUSE, **FORMAT).event())
        async with asyncio.timeout(WAIT_S):
            while Error.is_type((events := await silent())[0].type):
                pass  # the place is given free a moment later
        return events

    async def silent():
        """Its last words, and why it ends."""
        async with client(port) as wyoming:
            await wyoming.write_event(AudioStart(**FORMAT).event())
            await wyoming.write_event(AudioChunk(audio=pcm(spoken_clip), **FORMAT).event())
            return [*await told(wyoming), await wyoming.read_event()]

    events = asyncio.run(talk())
    assert Transcript.from_event(events[-2]).text == SENTENCE
    assert Error.from_event(events[-1]).code == "idle"


def test_a_service_that_ends_tells_what_it_has_heard(make_server, spoken_model, spoken_clip):
    server = make_server("--model", spoken_model, "--wyoming_port", 0, "--grace_s", 1)

    async def talk():
        async with client(port_of(server)) as wyoming:
            await wyoming.write_event(AudioStart(**FORMAT).event())
            await wyoming.write_event(AudioChunk(audio=pcm(spoken_clip), **FORMAT).event())
            await wyoming.write_event(Ping().event())
            while not Pong.is_type((await wyoming.read_event()).type):
                pass
            server.process.terminate()
            return await told(wyoming)

    assert Transcript.from_event(asyncio.run(talk())[-1]).text.startswith("she had your dark suit")
    assert server.ended() == 0


@pytest.fixture(scope="module")
def announced_server(_servers, spoken_model):
    server = _servers("--model", spoken_model, "--wyoming_port", 0, "--wyoming_mdns")
    yield server
    server.kill()


def test_it_is_announced_to_the_local_network(announced_server):
    async def find():
        async with AsyncZeroconf(interfaces=["127.0.0.1"]) as network:
            found = asyncio.Event()
            names = []

            def heard(zeroconf, service_type, name, state_change):
                names.append(name)
                found.set()

            browser = AsyncServiceBrowser(network.zeroconf, "_wyoming._tcp.local.", handlers=[heard])
            await asyncio.wait_for(found.wait(), WAIT_S)
            info = AsyncServiceInfo("_wyoming._tcp.local.", names[0])
            assert await info.async_request(network.zeroconf, 1000 * WAIT_S)
            await browser.async_cancel()
            return info.port, info.parsed_addresses()

    assert asyncio.run(find()) == (port_of(announced_server), ["127.0.0.1"])


def test_the_access_log_has_a_line_of_each_connection_without_what_was_said(announced_server, spoken_clip):
    async def talk():
        async with client(port_of(announced_server)) as wyoming:
            await send(wyoming, pcm(spoken_clip))
            await told(wyoming)

    asyncio.run(talk())
    assert announced_server.stop() == 0
    line_of(announced_server, "(WYOMING)")
    (line,) = [json.loads(line) for line in announced_server.err.splitlines() if "WYOMING" in line]
    assert (line["status"], line["model"], line["seconds"]) == (200, "output_graph_nodrop", 2.92)
    assert "suit" not in announced_server.err
