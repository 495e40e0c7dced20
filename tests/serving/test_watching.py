"""Watching a model in production: what is counted of the utterances that are served, and how drift is told."""

import asyncio
import dataclasses

import httpx
import numpy as np
import pytest
from serving.conftest import metric, wav_bytes
from serving.stream_clients import pcm
from websockets.asyncio.client import connect

from deepspeech_training.audio.loudness import Signal
from deepspeech_training.console import Console
from deepspeech_training.registry.store import MODEL_FILE, VOCABULARY_FILE, Registry
from deepspeech_training.registry.writer import writing
from deepspeech_training.runtime.events import Final
from deepspeech_training.runtime.figures import Figures, Place
from deepspeech_training.runtime.profile import Profile
from deepspeech_training.runtime.settings import StreamSettings
from deepspeech_training.runtime.utterances import Endpointing, Session, transcribe
from deepspeech_training.serving.drift import Window, indices, report
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ServedModel, load
from deepspeech_training.serving.sources import find_sources
from deepspeech_training.serving.watching import listener

WAIT_S = 60
FILES = "/v1/audio/transcriptions"


def text_of(server) -> str:
    return httpx.get(f"{server.url}/metrics").text


@pytest.fixture
def served(watched_registry) -> ServedModel:
    (model,) = load(find_sources(watched_registry), num_threads=1)
    return model


def serve(served: ServedModel, audio: np.ndarray, gains_db: np.ndarray, *, noise: float = 0.0) -> None:
    """Let a model hear a clip many times, int16, at gains, with noise of an amplitude, as the service does."""
    generator, settings, metrics = np.random.default_rng(3), StreamSettings(), Metrics()
    for gain_db in gains_db:
        loud = audio * 10 ** (gain_db / 20) + generator.normal(0, noise, len(audio)) * (noise > 0)
        heard = listener(served, settings, metrics)
        for _ in transcribe(served.model, loud.astype(np.int16), sample_rate=16000, settings=settings, heard=heard):
            pass


def test_each_utterance_of_files_and_streams_is_counted_once_and_nothing_of_what_was_said(spoken_server, spoken_clip):
    before = metric(spoken_server, "deepspeech_utterances_total")
    words, unknown = (metric(spoken_server, f"deepspeech_{name}_total") for name in ("words", "unknown_words"))
    confident = metric(spoken_server, "deepspeech_utterance_confidence_count")
    httpx.post(spoken_server.url + FILES, files={"file": spoken_clip.read_bytes()}, timeout=60)
    click = wav_bytes(np.random.default_rng(0).normal(0, 1e-3, 160).astype(np.float32))
    httpx.post(spoken_server.url + FILES, files={"file": click}, timeout=60)

    async def talk(query: str) -> None:
        async with asyncio.timeout(WAIT_S), connect(f"{spoken_server.ws_url}/v1/stream?{query}") as stream:
            await stream.send(pcm(spoken_clip))
            await stream.send('{"type": "finish"}')
            async for _ in stream:
                pass

    asyncio.run(talk("scorer=0"))
    text, name = text_of(spoken_server), 'model="output_graph_nodrop"'
    assert metric(spoken_server, "deepspeech_utterances_total") == before + 3
    assert f'deepspeech_utterances_total{{{name},result="empty"}}' in text
    for figure in ("level_dbfs", "noise_dbfs", "snr_db", "clipped_ratio"):
        assert metric(spoken_server, f"deepspeech_utterance_{figure}_count") == before + 3, figure
    for figure in ("seconds", "confidence", "characters_per_second"):
        assert metric(spoken_server, f"deepspeech_utterance_{figure}_count") == confident + 2, figure
    # Of the stream alone, that was decoded without the scorer.
    assert metric(spoken_server, "deepspeech_words_total") == words + 11
    assert metric(spoken_server, "deepspeech_unknown_words_total") == unknown
    assert metric(spoken_server, "deepspeech_ready") == 1
    assert "dark" not in text and "deepspeech_drift{" not in text
    found = httpx.get(f"{spoken_server.url}/v1/drift").json()["models"]["output_graph_nodrop"]
    assert found["band"] is None and "was not registered with a test set" in found["sentence"]
    assert found["statistics"]["level_dbfs"]["served"] < 0 and "dark" not in str(found)


def test_an_utterance_without_words_is_told_too_and_of_no_audio_nothing_is(served):
    heard: list[Signal] = []

    def tell(final: Final, signal: Signal) -> None:
        heard.append(signal)

    assert list(transcribe(served.model, np.zeros(160, np.int16), sample_rate=16000, heard=tell)) == []
    assert [signal.seconds for signal in heard] == [0.01]
    session = Session(served.model, endpointing=Endpointing(enabled=False, max_s=1), sample_rate=16000, heard=tell)
    session.feed(np.zeros(5 * 8000, np.int16))
    session.finish()
    session = Session(served.model, sample_rate=16000, heard=tell)
    session.finish()
    assert sum(signal.seconds for signal in heard[1:]) == pytest.approx(2.5)


def test_the_same_recordings_are_like_the_test_set_and_quieter_or_noisier_ones_are_not(served, spoken_clip):
    audio = np.frombuffer(pcm(spoken_clip), np.int16)[: 16000 * 3 // 2].astype(float)
    gains_db = np.random.default_rng(4).normal(0, 3, 100)
    told = {}
    for case, less_db, noise in (("same", 0, 0), ("quiet", 20, 0), ("noisy", 0, 300)):
        served = dataclasses.replace(served, window=Window())
        serve(served, audio, gains_db - less_db, noise=noise)
        told[case] = report(served.window.profile(), served.reference)
    assert told["same"]["band"] == "none" and "are like the test set" in told["same"]["sentence"]
    statistics = told["quiet"]["statistics"]
    assert told["quiet"]["band"] == statistics["level_dbfs"]["band"] == "large"
    assert statistics["level_dbfs"]["reference"] - statistics["level_dbfs"]["served"] == pytest.approx(20, abs=5)
    assert statistics["seconds"]["band"] == "none" and "level of speech" in told["quiet"]["sentence"]
    noisy = told["noisy"]["statistics"]
    assert noisy["noise_dbfs"]["band"] == noisy["snr_db"]["band"] == "large"
    assert noisy["snr_db"]["served"] < noisy["snr_db"]["reference"]
    metrics = Metrics()
    metrics.watch(lag_s=lambda: 0.0, files=lambda: 0.0, models=lambda: {"en": served})
    assert 'deepspeech_drift{model="en",statistic="noise_dbfs"} ' in metrics.text().decode()


def test_nothing_is_said_of_few_utterances_or_of_a_model_without_a_profile(served):
    place = (Place("empty", 0, 1),)
    few, many = Profile.of([place] * 99), Profile.of([place] * 100)
    assert indices(few, many) == {} and "99 of 100" in report(few, many)["sentence"]
    assert indices(many, None) == {} and report(many, None)["reference_utterances"] is None
    assert "the test set has 10 utterances" in report(many, Profile.of([place] * 10))["sentence"]
    assert indices(many, many) == {"empty": 0.0}


def test_the_window_forgets_what_is_old_and_what_is_beyond_its_size():
    now = 0.0
    window = Window(lambda: now)
    for number in range(600):
        window.add((Place("empty", int(number < 100), 1),))
    assert window.profile().counts("empty") == [500, 0]
    now = 25 * 3600.0
    assert window.profile().utterances == 0 and window.profile().counts("empty") == [0, 0]


def test_the_words_that_a_model_was_trained_on_are_known(served, tmp_path):
    from deepspeech_training.registry.reference import vocabulary_of

    (tmp_path / "train.csv").write_text("wav_filename,wav_filesize,transcript\na.wav,1,one two\nb.wav,1,two three\n")
    card = {"data": [{"set": "train", "csv": str(tmp_path / "train.csv")}], "model": {"alphabet": [" ", "a"]}}
    assert vocabulary_of(card) == {"one", "two", "three"}
    assert vocabulary_of({**card, "model": {"alphabet": ["a"]}}) is None
    card["data"][0]["csv"] = str(tmp_path / "gone.csv")
    assert vocabulary_of(card) is None and served.knows is None
    assert Figures({}, 3, 1).places()[-1] == Place("unknown_words", 1, 1)


def test_a_card_without_a_profile_or_with_a_damaged_one_is_served_all_the_same(tmp_path, spoken_model):
    registry, console = Registry(tmp_path / "models"), Console(show_progressbar=False)
    files = {MODEL_FILE: spoken_model, VOCABULARY_FILE: "zwölf\nboxkämpfer".encode()}
    with writing(registry, console) as writer:
        for card in ({}, {"profile": {"utterances": "many"}}):
            version = writer.publish("en", files, {"tests": [], **card})
            writer.promote(version, "")
            (served,) = load(find_sources(registry.folder), num_threads=1)
            assert served.reference is None
            assert served.knows("zwölf") and not served.knows("elf")
