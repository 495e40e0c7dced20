"""Where the audio of a session is cut changes nothing, and neither do other sessions of the same model."""

import concurrent.futures
from functools import cache

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from models.small_models import random_model

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.runtime import Model
from deepspeech_training.runtime.utterances import Endpointing, Event, Final, Partial, Session, StreamSettings


def but_partials(events: list[Event]) -> str:
    """All that must not depend on how the audio was cut, to the last bit of every number."""
    return "\n".join(repr(event) for event in events if not isinstance(event, Partial))


@pytest.fixture(scope="module")
def talk(clip):
    """A function: seconds of the pauses before each sentence -> float32 [samples], -1..1, at a rate."""

    @cache
    def say(pauses: tuple[float, ...], rate: int) -> np.ndarray:
        rng = np.random.default_rng(len(pauses))
        parts = [part for pause in pauses for part in (np.zeros(round(16000 * pause)), clip[:32000] / 32768)]
        audio = np.concatenate(parts) + rng.normal(scale=1e-4, size=sum(map(len, parts)))
        return soxr.resample(audio.astype(np.float32), 16000, rate)

    return say


def as_sent(audio: np.ndarray, dtype: str, channels: int) -> bytes:
    if dtype == "int16":
        audio = (audio * 32767).astype(np.int16)
    return np.stack([audio // 2 if dtype == "int16" and side else audio for side in range(channels)], axis=1).tobytes()


@settings(max_examples=40, deadline=None)
@given(
    pauses=st.sampled_from([(0.0,), (0.4, 1.5), (1.2, 0.2, 1.0)]),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    dtype=st.sampled_from(["int16", "float32"]),
    channels=st.integers(1, 2),
    max_s=st.sampled_from([1.5, 30.0]),
    data=st.data(),
)
def test_wherever_a_session_is_cut_its_finals_are_the_same_to_the_byte(
    model, talk, pauses, rate, dtype, channels, max_s, data
):
    sent = as_sent(talk(pauses, rate), dtype, channels)

    def session() -> Session:
        endpointing = Endpointing(hangover_s=0.5, max_s=max_s)
        return Session(model, endpointing=endpointing, sample_rate=rate, channels=channels, dtype=dtype)

    second = channels * np.dtype(dtype).itemsize * rate  # in bytes
    sizes = st.one_of(st.integers(1, 20), st.integers(1, second // 5), st.integers(1, 10 * second))
    cuts = data.draw(st.lists(st.tuples(sizes, st.integers(1, 8)), max_size=12))
    whole, cut, start = session(), session(), 0
    events = []
    for size in [*(size for size, times in cuts for _ in range(times)), *[second // 3] * (len(sent) // second * 3 + 3)]:
        events += cut.feed(sent[start : start + size])
        start += size
    assert start >= len(sent)
    assert cut.seconds == pytest.approx(len(sent) / second)
    assert but_partials(events + cut.finish()) == but_partials(whole.feed(sent) + whole.finish())


def test_a_flush_ends_the_utterance_at_the_same_place_wherever_the_audio_before_it_was_cut(model, talk):
    sent = as_sent(talk((0.4, 1.5), 44100), "int16", 1)

    def run(size: int) -> str:
        session = Session(model, sample_rate=44100)
        events = []
        for half in (sent[:100_001], sent[100_001:]):
            for start in range(0, len(half), size):
                events += session.feed(half[start : start + size])
            events += session.flush()
        return but_partials(events + session.finish())

    assert run(99) == run(4410) == run(len(sent))
    assert run(99).count("reason='flush'") == 2


def test_bytes_and_arrays_of_a_session_are_the_same(model, talk):
    audio = (talk((0.4, 1.5), 16000) * 32767).astype(np.int16)
    sent, stereo = audio.tobytes(), np.stack([audio, audio], axis=1)
    results = []
    for channels, given_audio in ((1, sent), (1, bytearray(sent)), (1, memoryview(sent)), (1, audio), (2, stereo)):
        session = Session(model, sample_rate=16000, channels=channels)
        results.append(but_partials(session.feed(given_audio) + session.finish()))
    assert len(set(results)) == 1


def test_sessions_with_other_settings_do_not_touch_each_other(model_path, talk, test_data, compiled_beam):
    model = Model(model_path, num_threads=3)
    scorer = Scorer.read(test_data / "ldc93s1" / "pruned_lm.scorer")
    every = [
        StreamSettings(),
        StreamSettings(beam_width=20),
        StreamSettings(beam_width=20, scorer=scorer, num_results=3),
        StreamSettings(beam_width=20, scorer=scorer, hot_words=(("dark", -1000.0),)),
        StreamSettings(beam_width=20, scorer=scorer, alpha=3.0, beta=0.1),
        StreamSettings(beam_width=60, scorer=scorer, hot_words=(("year", 20.0),)),
    ]
    audio = (talk((0.4, 1.5), 16000) * 32767).astype(np.int16)

    def run(number: int) -> str:
        session = Session(model, every[number % len(every)], sample_rate=16000)
        events, size = [], 800 + 100 * number
        for start in range(0, len(audio), size):
            events += session.feed(audio[start : start + size])
        return but_partials(events + session.finish())

    alone = [run(number) for number in range(len(every))]
    assert len(set(alone)) > 3
    with concurrent.futures.ThreadPoolExecutor(32) as threads:
        for number, result in enumerate(threads.map(run, range(32))):
            assert result == alone[number % len(every)]


@pytest.mark.parametrize(
    ("alphabet", "rate"),
    [
        (Alphabet.english(), 11250),  # a rate that the detector does not know, and 30 ms that are no whole samples
        (Alphabet(tuple("abcdefgh")), 8000),  # no space: each character is a word
        (ByteAlphabet(), 16000),
    ],
)
@pytest.mark.parametrize("width", [0, 10])
def test_other_rates_and_alphabets_do_not_depend_on_cuts_either(tmp_path, talk, compiled_beam, alphabet, rate, width):
    path = tmp_path / "model.tflite"
    path.write_bytes(random_model(alphabet=alphabet, sample_rate=rate))
    model = Model(path)
    sent = as_sent(talk((1.2, 0.2, 1.0), 16000), "int16", 1)
    results = []
    for size in (317, 3200, len(sent)):
        session, events, stable = Session(model, StreamSettings(beam_width=width), sample_rate=16000), [], ""
        for start in range(0, len(sent), size):
            for event in session.feed(sent[start : start + size]):
                if isinstance(event, Partial):
                    assert event.text.startswith(event.stable) and event.stable.startswith(stable)
                    stable = event.stable
                elif isinstance(event, Final):
                    assert event.text.startswith(stable)
                    stable = ""
                events.append(event)
        events += session.finish()
        finals = [event for event in events if isinstance(event, Final)]
        assert [final.start_s for final in finals] == pytest.approx([1.0, 6.3], abs=0.3)
        for final in finals:
            edges = [edge for word in final.words for edge in (word.start_s, word.end_s)]
            assert edges == sorted(edges)
        results.append(but_partials(events))
    assert results[0] == results[1] == results[2]
