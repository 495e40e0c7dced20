"""vosk-server's protocol with the client of the package `vosk`, and in lock-step with audio cut anywhere."""

import argparse
import asyncio
import json
import random

import pytest
from stream_clients import PAUSE, SENTENCE, WAIT_S, cuts, line_of, pcm
from vosk.transcriber.transcriber import Transcriber
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="session")
def url(spoken_server) -> str:
    return spoken_server.ws_url + "/vosk"


@pytest.fixture(scope="session")
def clip(spoken_clip) -> bytes:
    return pcm(spoken_clip)


def transcribed(url: str, audio: bytes) -> tuple[list[dict], int]:
    """What Vosk's own client has in the end; made without __init__, which loads a model of Vosk."""

    class Process:
        pass

    async def run():
        process = Process()
        process.stdout = asyncio.StreamReader(limit=2**24)
        process.stdout.feed_data(audio)
        process.stdout.feed_eof()
        transcriber = Transcriber.__new__(Transcriber)
        transcriber.args = argparse.Namespace(server=url)
        return await asyncio.wait_for(transcriber.recognize_stream_server(process), WAIT_S)

    return asyncio.run(run())


async def lock_step(url: str, messages: list[bytes | dict], *, replies_to: tuple[str, ...] = ("reset", "eof")) -> list:
    """The reply to each message that has one; the client sends no other before it has come."""
    replies = []
    async with asyncio.timeout(WAIT_S), connect(url) as socket:
        for message in messages:
            await socket.send(message if isinstance(message, bytes) else json.dumps(message))
            if isinstance(message, bytes) or any(name in message for name in replies_to):
                replies.append(json.loads(await socket.recv()))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 1000
    return replies


def config(**settings) -> dict:
    return {"config": {"sample_rate": 16000.0, **settings}}


def texts(replies: list) -> list[str]:
    return [reply["text"] for reply in replies if reply.get("text")]


def test_the_client_of_vosk_gets_its_sentences_with_words_and_confidence(url, clip):
    results, sent = transcribed(url, clip + PAUSE + clip + PAUSE)
    assert sent == 2 * len(clip + PAUSE)
    with_text = [result for result in results if result["text"]]
    assert len(with_text) == 2
    assert with_text[0]["text"].startswith("she had your dark suit in")
    words = with_text[1]["result"]
    assert " ".join(word["word"] for word in words) == with_text[1]["text"]
    assert all(set(word) == {"conf", "start", "end", "word"} for word in words)
    assert all(0 <= word["conf"] <= 1 and word["start"] < word["end"] for word in words)
    assert words[0]["start"] > 4  # seconds of the session, not of the sentence


def test_a_port_of_its_own_takes_any_path(make_server, spoken_model, spoken_scorer, clip):
    server = make_server("--model", spoken_model, "--scorer", spoken_scorer, "--vosk_port", 0)
    port = line_of(server, r"Vosk: (ws://\S+)")
    for path in ("", "/", "/asr/en?x=1"):
        results, _ = transcribed(port + path, clip)
        assert results[-1]["text"] == SENTENCE


@pytest.mark.parametrize("seed", range(4))
def test_each_binary_message_has_one_reply_however_the_audio_is_cut(url, clip, seed):
    parts = list(cuts(clip + PAUSE + clip, random.Random(seed)))
    replies = asyncio.run(lock_step(url, [config(), *parts, {"eof": 1}]))
    whole = asyncio.run(lock_step(url, [config(), clip + PAUSE + clip, {"eof": 1}]))
    assert len(replies) == len(parts) + 1
    assert all(("partial" in reply) != ("text" in reply) for reply in replies)
    assert " ".join(texts(replies)) == " ".join(texts(whole))


def test_a_partial_text_stays_until_there_is_another_and_ends_with_its_sentence(url, clip):
    parts = [*cuts(clip, 3200), bytes(2), *cuts(PAUSE, 3200)]
    replies = asyncio.run(lock_step(url, [config(words=False), *parts, {"eof": 1}]))
    at_end = len(list(cuts(clip, 3200)))
    assert replies[at_end] == replies[at_end - 1] == {"partial": replies[at_end]["partial"]}
    (final,) = texts(replies)
    assert replies[-2] == {"partial": ""}
    assert replies[-1] == {"text": ""}
    assert {"text": final} in replies  # without words


def test_alternatives_come_best_first(url, clip):
    replies = asyncio.run(lock_step(url, [config(max_alternatives=3), clip, {"eof": 1}]))
    alternatives = replies[-1]["alternatives"]
    assert alternatives[0]["text"] == SENTENCE
    assert [word["word"] for word in alternatives[0]["result"]] == SENTENCE.split()
    assert len(alternatives) == 3
    assert sorted((other["confidence"] for other in alternatives), reverse=True) == [
        other["confidence"] for other in alternatives
    ]


def test_reset_gives_the_text_so_far_and_begins_anew(url, clip):
    messages = [config(), clip, {"reset": 1}, config(words=False), clip, {"reset": 1}, {"reset": 1}, {"eof": 1}]
    replies = asyncio.run(lock_step(url, messages))
    assert [reply["text"] for reply in replies if "text" in reply] == [SENTENCE, SENTENCE, "", ""]
    assert replies[1]["result"][0]["start"] < 0.5
    assert "result" not in replies[3]


def test_phrases_make_words_likelier_in_this_session_alone(url, clip):
    async def both():
        liked = lock_step(url, [config(phrase_list=["dark [unk]", "suit"]), clip, {"eof": 1}])
        return await asyncio.gather(liked, lock_step(url, [config(), clip, {"eof": 1}]))

    liked, plain = asyncio.run(both())
    assert texts(plain) == [SENTENCE]
    assert "dark suit" in texts(liked)[0]


def test_the_rate_is_8000_where_the_client_says_none(url, spoken_clip):
    narrow = pcm(spoken_clip.parent / "LDC93S1_pcms16le_1_8000.wav")
    said = asyncio.run(lock_step(url, [narrow, {"eof": 1}]))
    told = asyncio.run(lock_step(url, [config(sample_rate=8000), narrow, {"eof": 1}]))
    assert texts(said) == texts(told) != []


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("eof", "no JSON"),
        ("[1]", "object"),
        ("{}", "eof"),
        ('{"config": 5}', "config"),
        ('{"config": {"sample_rate": 1e99}}', "sample_rate"),
        ('{"config": {"sample_rate": "fast"}}', "sample_rate"),
        ('{"config": {"phrase_list": "yes"}}', "phrase_list"),
        ('{"config": {"max_alternatives": 1e6}}', "max_alternatives"),
        ('{"config": {"model": "nobody"}}', "nobody"),
    ],
)
def test_a_message_that_is_none_closes_the_connection_with_the_reason(url, spoken_server, message, named):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(url) as socket:
            await socket.send(message)
            await socket.send(bytes(3200))
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.recv()
            return closed.value.rcvd

    closed = asyncio.run(talk())
    assert closed.code == 1008
    assert named in closed.reason
    assert "Traceback" not in spoken_server.err


def test_phrases_without_a_scorer_are_refused_rather_than_ignored(server):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/vosk") as socket:
            await socket.send(json.dumps(config(phrase_list=["yes"])))
            await socket.send(bytes(3200))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            return closed.value.rcvd

    assert "needs a scorer" in asyncio.run(talk()).reason
