"""Models of words behind /v1/g2p, alone and beside others."""

import json
import threading

import httpx
import pytest
from models.small_models import random_model
from models.small_words import exported_words
from serving.conftest import metric

from deepspeech_training.runtime.pronunciation_file import PronunciationFile

PATH = "/v1/g2p"


@pytest.fixture(scope="module")
def server(_servers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    (folder / "text.tflite").write_bytes(random_model())
    (folder / "english.g2p").write_bytes(exported_words(quantize=True))
    (folder / "spelling.g2p").write_bytes(exported_words(task="ipa_to_word"))
    return _servers("--model", folder, "--max_words", 40, "--max_word_symbols", 30)


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_words_get_the_answers_of_the_model(http):
    pronouncer = PronunciationFile.of_bytes(exported_words(quantize=True), "english.g2p").pronouncer()
    wanted = pronouncer.answers(["abc", "ge"], width=5, count=3)
    found = http.post(PATH, json={"words": ["abc", " ge "], "count": 3}).json()
    assert (found["model"], found["task"]) == ("english", "word_to_ipa")
    assert [entry["word"] for entry in found["words"]] == ["abc", "ge"]
    for entry, answers in zip(found["words"], wanted, strict=True):
        assert [one["text"] for one in entry["answers"]] == [one.text for one in answers]
        probabilities = [pytest.approx(one.probability, abs=2e-6) for one in answers]
        assert [one["probability"] for one in entry["answers"]] == probabilities and entry["unknown"] == []
    assert http.get(PATH, params={"word": ["abc", "ge"], "count": "3"}).json() == found
    other = http.get(PATH, params={"word": "aé", "model": "spelling"}).json()
    assert other["task"] == "ipa_to_word" and other["words"][0]["unknown"] == ["é"]


def test_what_is_wrong_is_said(http):
    for request, status, words in (
        ({"json": {}}, 400, "words must be a list"),
        ({"json": {"words": "abc"}}, 400, "words must be a list"),
        ({"json": {"words": [1]}}, 400, "a text that is not empty, it is 1"),
        ({"json": {"words": [" "]}}, 400, "not empty"),
        ({"json": {"words": ["a"] * 41}}, 413, "a request may have 40 (--max_words)"),
        ({"json": {"words": ["a" * 31]}}, 413, "a word may have 30 (--max_word_symbols)"),
        ({"json": {"words": ["a"], "count": 21}}, 400, "count must be from 1 to 20"),
        ({"json": {"words": ["a"], "beam_width": 0}}, 400, "beam_width must be from 1"),
        ({"json": {"words": ["a"], "beamwidth": 3}}, 400, "did you mean beam_width?"),
        ({"json": {"words": ["a"], "model": "german"}}, 404, "there is no model 'german'; there is: english, spelling"),
        ({"json": {"words": ["a"], "model": "text"}}, 400, "the model text writes what is said"),
        ({"content": b"{"}, 400, "no JSON"),
        ({"content": b'"\xff"'}, 400, "no UTF-8"),
        ({"content": b"[1]"}, 400, "must be a JSON object"),
        ({"content": b" " * 30_000}, 413, "the body is larger"),
    ):
        answer = http.post(PATH, **request)
        assert answer.status_code == status and words in answer.json()["error"]["message"], answer.text
    assert "words must be a list" in http.get(PATH).json()["error"]["message"]
    assert http.put(PATH).status_code == 405


def test_models_of_words_are_listed_and_refuse_audio(http, server):
    models = {model["id"]: model["facts"] for model in http.get("/v1/models").json()["data"]}
    assert {name: facts["task"] for name, facts in models.items()} == {
        "text": "speech_to_text",
        "english": "word_to_ipa",
        "spelling": "ipa_to_word",
    }
    facts = http.get("/v1/models/english").json()["facts"]
    assert facts["weights"] == "int8" and facts["language"] == "en" and len(facts["sha256"]) == 64
    sent = {"files": {"file": ("a.wav", b"RIFF")}, "data": {"model": "english"}}
    answer = http.post("/v1/audio/transcriptions", **sent)
    assert answer.status_code == 400 and "GET or POST /v1/g2p" in answer.json()["error"]["message"]
    assert http.get("/live").status_code == 200 and http.get("/ready").status_code == 200
    assert metric(server, "deepspeech_words_answered_total") > 0


def test_a_model_of_words_alone_is_served_and_exchanged(_servers, tmp_path):
    (tmp_path / "english.g2p").write_bytes(exported_words())
    server = _servers("--model", tmp_path / "english.g2p", "--reload_s", 0.1)
    with httpx.Client(base_url=server.url, timeout=60) as http:
        assert http.get("/live").status_code == 200
        before = http.get("/v1/models/english").json()["facts"]["sha256"]
        answer = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", b"RIFF")})
        assert answer.status_code == 400 and "no model is served here which writes what is said" in answer.text
        (tmp_path / "english.g2p").write_bytes(exported_words(quantize=True))
        for _ in range(200):
            if http.get("/v1/models/english").json()["facts"]["sha256"] != before:
                break
            threading.Event().wait(0.1)
        assert http.get("/v1/models/english").json()["facts"]["weights"] == "int8"


def test_many_clients_at_once_get_their_own_answers(http, server):
    words = ["".join(letters) for letters in (["a", "b", "c"], ["g", "e"], ["f"], ["d", "a", "b"])]
    alone = {word: http.get(PATH, params={"word": word}).json()["words"][0] for word in words}
    found: dict[str, object] = {}

    def ask(word: str) -> None:
        found[word] = json.loads(httpx.get(server.url + PATH, params={"word": word}, timeout=60).text)["words"][0]

    threads = [threading.Thread(target=ask, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone
