"""WS /v1/stream with the `websockets` client: what comes in which order, and what is refused."""

import asyncio
import json
import random
from itertools import pairwise

import numpy as np
import pytest
from stream_clients import PAUSE, SENTENCE, WAIT_S, cuts, of_type, own_stream, pcm, refusal
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="session")
def url(spoken_server) -> str:
    return spoken_server.ws_url + "/v1/stream"


@pytest.fixture(scope="session")
def clip(spoken_clip) -> bytes:
    return pcm(spoken_clip)


def test_a_sentence_comes_with_its_words_and_times(url, clip):
    said = asyncio.run(own_stream(url + "?words=1&alternatives=3", clip))
    assert [said[0]["type"], said[1]["type"], said[-2]["type"], said[-1]["type"]] == [
        "ready",
        "speech_start",
        "final",
        "done",
    ]
    ready, final = said[0], said[-2]
    assert ready["sample_rate"] == 16000
    assert ready["limits"]["idle_s"] == 60
    assert final["text"] == SENTENCE
    assert final["reason"] == "finish"
    words = final["words"]
    assert [word["word"] for word in words] == SENTENCE.split()
    assert all(0 <= word["confidence"] <= 1 and word["start"] < word["end"] for word in words)
    assert all(first["end"] <= second["start"] for first, second in pairwise(words))
    assert final["alternatives"][0]["text"] == SENTENCE
    assert len(final["alternatives"]) > 1
    assert of_type(said, "partial")[0]["words"]
    assert said[-1]["seconds"] == round(len(clip) / 32000, 3)


def test_sentences_end_by_themselves_and_times_count_from_the_start(url, clip):
    said = asyncio.run(own_stream(url, clip + PAUSE + clip + PAUSE))
    first, second = of_type(said, "final")
    assert first["text"].startswith("she had your dark suit")
    assert [first["reason"], first["seq"], second["seq"]] == ["endpoint", 0, 1]
    begun, ended = of_type(said, "speech_start"), of_type(said, "speech_end")
    assert len(begun) == len(ended) == 2
    assert begun[1]["at"] > first["end"] > 2
    assert second["words"][0]["start"] >= second["start"] == begun[1]["at"]


def test_stable_text_is_never_taken_back(url, clip):
    said = asyncio.run(own_stream(url + "?beam_width=64", clip + PAUSE + clip))
    stable: dict[int, str] = {}
    for message in said:
        if message["type"] in ("partial", "final"):
            assert message["text"].startswith(stable.get(message["seq"], ""))
            stable[message["seq"]] = message.get("stable", "")
    assert len(stable) == 2


def test_where_the_audio_is_cut_changes_no_final(url, clip):
    def finals(size):
        said = asyncio.run(own_stream(url, clip + PAUSE + clip, size))
        return [{**final, "lag_s": 0} for final in of_type(said, "final")]

    whole = finals(10**6)
    for seed in range(4):
        assert finals(random.Random(seed)) == whole


def test_sessions_with_other_settings_at_the_same_time_hear_what_each_hears_alone(url, spoken_clip, clip):
    narrow = pcm(spoken_clip.parent / "LDC93S1_pcms16le_1_8000.wav")
    stereo = pcm(spoken_clip.parent / "LDC93S1_pcms16le_2_44100.wav")
    floats = (np.frombuffer(stereo, "<i2") / np.float32(32768)).astype("<f4").tobytes()
    sessions = [
        (url, clip),
        (url + "?beam_width=0", clip),
        (url + '?hot_words={"dark":-500,"year":3}', clip),
        (url + "?rate=8000&alpha=0.1&beta=1", narrow),
        (url + "?rate=44100&channels=2&format=f32le&scorer=0", floats),
        (url + "?rate=44100&channels=2", stereo),
    ]

    async def all_at_once():
        return await asyncio.gather(*(own_stream(*session) for session in sessions))

    def texts(said):
        return [final["text"] for final in of_type(said, "final")]

    together = asyncio.run(all_at_once())
    assert [texts(said) for said in together] == [texts(asyncio.run(own_stream(*session))) for session in sessions]
    assert texts(together[0]) == texts(together[5]) == [SENTENCE]
    assert "dark" not in texts(together[2])[0]


def test_flush_ends_the_sentence_and_the_session_goes_on(url, clip):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(url + "?partials=0") as socket:
            await socket.send(clip[: len(clip) // 2])
            await socket.send('{"type": "flush"}')
            await socket.send('{"type": "ping"}')
            await socket.send(clip[len(clip) // 2 :])
            await socket.send('{"type": "finish"}')
            return [json.loads(message) async for message in socket]

    said = asyncio.run(talk())
    first, second = of_type(said, "final")
    assert [first["reason"], second["reason"]] == ["flush", "finish"]
    assert first["text"].startswith("she had your")
    assert second["start"] > 1
    assert of_type(said, "pong")[0]["lag_s"] >= 0
    assert not of_type(said, "partial")


def test_settings_may_come_in_a_message_instead_of_the_query(url, spoken_clip):
    audio = pcm(spoken_clip.parent / "LDC93S1_pcms16le_2_44100.wav")

    async def talk():
        async with asyncio.timeout(WAIT_S), connect(url) as socket:
            await socket.send(json.dumps({"type": "start", "rate": 44100, "channels": 2, "hangover_s": 2}))
            for part in cuts(audio, 8192):
                await socket.send(part)
            await socket.send('{"type": "finish"}')
            return [json.loads(message) async for message in socket]

    said = asyncio.run(talk())
    assert [message["endpointing"]["hangover_s"] for message in of_type(said, "ready")] == [0.8, 2]
    assert of_type(said, "final")[0]["text"] == SENTENCE


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("rate=5", 400, "rate must be from 4000"),
        ("rate=1e400", 400, "rate must be a number"),
        ("format=mp3", 400, "s16le or f32le"),
        ("wrds=1", 400, "did you mean words?"),
        ("model=nobody", 404, "no model 'nobody'"),
        ("hangover_s=0", 400, "hangover_s"),
        ("beam_width=-1", 400, "beam_width"),
        ("hot_words={", 400, "no JSON"),
        ("hot_words=year:much", 400, "year"),
        ("scorer=0&hot_words=year:5", 400, "needs a scorer"),
        ("alternatives=many", 400, "alternatives must be a number"),
    ],
)
def test_a_wrong_query_is_refused_before_the_handshake(url, query, status, named):
    found, error = asyncio.run(refusal(f"{url}?{query}"))
    assert found == status
    assert named in error["message"]


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        "[" * 100_000,
        '{"type": "dance"}',
        '{"type": ["finish"]}',
        "{}",
        '{"type": "start", "rate": 1e999}',
        '{"type": "start", "rate": {"a": 1}}',
        '{"type": "start", "rate": ' + "9" * 5000 + "}",
        '{"type": "start", "model": 7}',
        '{"type": "start", "format": [1]}',
        '{"type": "start", "words": {}, "channels": true}',
        '{"type": "start", "hot_words": [[1]]}',
        '{"type": "start", "\\ud800": "\\udfff"}',
    ],
    ids=lambda message: message[:20],
)
def test_a_message_that_is_none_ends_the_session_with_a_sentence(url, spoken_server, message):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(url) as socket:
            await socket.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    said = json.loads(await socket.recv())
            return said, closed.value.rcvd.code

    error, code = asyncio.run(talk())
    assert (error["type"], error["code"], code) == ("error", "bad_request", 1008)
    assert len(error["message"]) > 10
    assert "Traceback" not in spoken_server.err


def test_what_was_heard_is_told_before_the_session_ends_for_a_fault(url, clip):
    async def talk():
        said = []
        async with asyncio.timeout(WAIT_S), connect(url) as socket:
            await socket.send(clip)
            await socket.send('{"type": "start"}')  # too late
            with pytest.raises(ConnectionClosed):
                while True:
                    said.append(json.loads(await socket.recv()))
        return said

    said = asyncio.run(talk())
    assert of_type(said, "final")[0]["text"] == SENTENCE
    assert said[-1]["type"] == "error"
    assert "before the first audio" in said[-1]["message"]


def test_samples_that_are_no_numbers_are_refused(url, spoken_server):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(url + "?format=f32le") as socket:
            await socket.send(np.full(16000, np.nan, "<f4").tobytes())
            return [json.loads(await socket.recv()) for _ in range(2)]

    assert asyncio.run(talk())[-1]["code"] == "bad_audio"
    assert "Traceback" not in spoken_server.err
