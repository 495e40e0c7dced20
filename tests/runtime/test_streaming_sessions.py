"""Sessions: utterances end by themselves, and where the audio is cut changes nothing."""

import sys
import types
from collections import deque
from itertools import pairwise

import numpy as np
import pytest
import soxr

from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.runtime import Model, StreamError
from deepspeech_training.runtime.model import DECODERS_KEPT
from deepspeech_training.runtime.utterances import (
    Endpointing,
    Final,
    Partial,
    Session,
    SpeechEnded,
    SpeechStarted,
    StreamSettings,
    transcribe,
)


def quiet(seconds: float, seed: int = 0, rate: int = 16000) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=3, size=round(seconds * rate)).astype(np.int16)


@pytest.fixture(scope="module")
def talk(clip):
    """Two sentences with pauses around them, 16 kHz."""
    return np.concatenate([quiet(2), clip, quiet(3, 1), clip, quiet(0.5, 2)])


def events_of(session: Session, audio: np.ndarray, chunk: int) -> list:
    events = []
    for start in range(0, len(audio), chunk):
        events += session.feed(audio[start : start + chunk])
    return events + session.finish()


def test_each_sentence_is_an_utterance_with_times_from_the_start_of_the_session(model, talk, clip):
    events = events_of(Session(model, sample_rate=16000), talk, 1600)
    finals = [event for event in events if isinstance(event, Final)]
    assert [(final.seq, final.reason) for final in finals] == [(0, "endpoint"), (1, "finish")]
    assert all("dark suit in greasy wash water" in final.text for final in finals)
    starts = [event.at_s for event in events if isinstance(event, SpeechStarted)]
    ends = [event.at_s for event in events if isinstance(event, SpeechEnded)]
    seconds = len(clip) / 16000
    assert starts == pytest.approx([2.0, 5 + seconds], abs=0.4)
    assert ends == pytest.approx([2 + seconds, 5 + 2 * seconds], abs=0.4)
    for final, start in zip(finals, starts, strict=True):
        assert start == final.start_s <= final.words[0].start_s and final.words[-1].end_s <= final.end_s
        assert final.text == " ".join(word.text for word in final.words)


def test_settings_with_a_scorer_share_a_decoder_and_leave_the_model_as_it_is(
    model_path, clip, test_data, compiled_beam
):
    model = Model(model_path)
    scorer = Scorer.read(test_data / "ldc93s1" / "pruned_lm.scorer")

    def stt(settings: StreamSettings) -> str:
        stream = model.createStream(settings)
        stream.feedAudioContent(clip)
        return stream.finishStream()

    greedy = model.stt(clip)
    plain = stt(StreamSettings(beam_width=20, scorer=scorer))
    without = stt(StreamSettings(beam_width=20, scorer=scorer, hot_words=(("dark", -1000.0),)))
    assert "dark" in plain and "dark" not in without
    assert stt(StreamSettings(beam_width=20, scorer=scorer, num_results=3)) == plain
    assert len(model._decoders) == 2
    assert stt(StreamSettings()) == model.stt(clip) == greedy
    for number in range(3 * DECODERS_KEPT):
        model.new_decoder(StreamSettings(beam_width=2 + number))
    assert len(model._decoders) == DECODERS_KEPT


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"beam_width": -1}, "beam width -1"),
        ({"num_results": 0}, "0 results"),
        ({"alpha": 1.0}, "need a scorer"),
        ({"hot_words": (("a", 1.0),)}, "need a scorer"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, says):
    with pytest.raises(ValueError, match=says):
        StreamSettings(**values)


def word_boundary(text: str, stable: str) -> bool:
    return text == stable or not stable or text.startswith(stable + " ")


@pytest.mark.parametrize(("width", "scored"), [(0, False), (50, False), (50, True)])
def test_what_was_called_stable_is_never_taken_back(model, talk, test_data, compiled_beam, width, scored):
    scorer = Scorer.read(test_data / "ldc93s1" / "pruned_lm.scorer") if scored else None
    session = Session(model, StreamSettings(beam_width=width, scorer=scorer, num_results=3), sample_rate=16000)
    stable, text, lengths, finals = "", "", [], 0
    for start in range(0, len(talk) + 1600, 800):
        # The last time round the session ends.
        events = session.feed(talk[start : start + 800]) if start < len(talk) else session.finish()
        partials = [event for event in events if isinstance(event, Partial)]
        assert len(partials) <= 1
        for event in partials:
            assert event.seq == finals and event.text != text
            assert word_boundary(event.stable, stable) and word_boundary(event.text, event.stable)
            assert event.text == " ".join(word.text for word in event.words)
            stable, text = event.stable, event.text
            lengths.append(len(stable))
        for event in events:
            if isinstance(event, Final):
                assert word_boundary(event.text, stable)
                assert event.text == event.alternatives[0].text and event.words == event.alternatives[0].words
                assert len({alternative.text for alternative in event.alternatives}) == len(event.alternatives) <= 3
                stable, text, finals = "", "", finals + 1
        if start >= len(talk):
            break
    assert finals == 2 and max(lengths) > 20  # of the 50 characters


def test_words_have_a_length_do_not_overlap_and_lie_within_the_utterance(model, talk):
    session = Session(model, StreamSettings(), sample_rate=16000)
    words = 0
    for event in session.feed(talk) + session.finish():
        if isinstance(event, Final):
            edges = [event.start_s, *(edge for word in event.words for edge in (word.start_s, word.end_s)), event.end_s]
            assert edges == sorted(edges)
            assert all(word.end_s - word.start_s > 0.019 and 0 <= word.confidence <= 1 for word in event.words)
            assert event.confidence == pytest.approx(np.mean([word.confidence for word in event.words]))
            words += len(event.words)
    assert words > 15


def test_silence_runs_no_network_and_gives_no_event(model, monkeypatch):
    calls = []
    network = model._networks
    monkeypatch.setattr(model, "_networks", lambda *arguments: calls.append(1) or network(*arguments))
    monkeypatch.setattr(model._networks, "file", network.file, raising=False)
    session = Session(model, sample_rate=16000)
    for _ in range(60):
        assert session.feed(quiet(1)) == []
    assert not calls and session.seconds == 60
    assert session.flush() == session.finish() == []


def test_somebody_who_never_pauses_is_cut_in_a_quiet_moment(model):
    rng = np.random.default_rng(1)
    t = np.arange(30 * 16000) / 16000
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * (1 + 0.5 * np.sin(2 * np.pi * 4 * t))
    audio = (tone * 4000 + rng.normal(scale=300, size=len(t))).astype(np.int16)
    quiet_at = round(8.5 * 16000)
    audio[quiet_at : quiet_at + 2000] //= 8  # an eighth of a second, too short for an endpoint
    session = Session(model, endpointing=Endpointing(max_s=10, aggressiveness=0), sample_rate=16000)
    events = session.feed(audio) + session.finish()
    starts = [event.at_s for event in events if isinstance(event, SpeechStarted)]
    ends = [event.at_s for event in events if isinstance(event, SpeechEnded)]
    assert 8.5 < ends[0] < 8.7 and all(end - start <= 10.01 for start, end in zip(starts, ends, strict=True))
    assert ends[0] <= starts[1] < ends[0] + 0.2  # what comes next is the next utterance


def test_without_endpointing_an_utterance_ends_when_it_is_asked_for_or_too_long(model, clip):
    session = Session(model, endpointing=Endpointing(enabled=False, max_s=5), sample_rate=16000)
    talk = np.concatenate([clip[:32000], quiet(2)])
    events = session.feed(talk)
    assert [type(event) for event in events] == [Partial]
    (final,) = session.flush()
    assert final.reason == "flush" and final.start_s == 0 and final.text
    assert session.flush() == []
    (silent,) = session.feed(np.zeros(100, np.int16)) + session.flush()
    assert (silent.start_s, silent.end_s, silent.seq) == (4.0, pytest.approx(4 + 100 / 16000), 1)
    reasons = [event.reason for event in session.feed(np.tile(clip, 3)) + session.finish() if isinstance(event, Final)]
    assert reasons == ["longest", "finish"]


def test_a_short_word_at_the_very_start_is_not_lost(model, clip):
    """A new detector takes its first frames for speech whatever they are, so they alone begin nothing."""
    word = clip[18000:22000]  # a quarter of a second
    session = Session(model, sample_rate=16000)
    events = session.feed(word) + session.finish()
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded, Final]
    assert events[-1].start_s == 0 and events[-1].end_s == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"sample_rate": 100}, "100 Hz"),
        ({"sample_rate": 16000, "channels": 0}, "0 channels"),
        ({"sample_rate": 16000, "dtype": "int8"}, "'int8'"),
        ({"sample_rate": 16000, "endpointing": {"hangover_s": float("nan")}}, "hangover_s nan"),
        ({"sample_rate": 16000, "endpointing": {"max_s": 1e9}}, "max_s"),
        ({"sample_rate": 16000, "endpointing": {"aggressiveness": 4}}, "aggressiveness 4"),
    ],
)
def test_a_session_that_cannot_be_is_refused(model, values, says):
    with pytest.raises(ValueError, match=says):
        Session(model, **{**values, "endpointing": Endpointing(**values.get("endpointing", {}))})


def test_audio_of_another_kind_is_refused_and_an_ended_session_says_so(model):
    session = Session(model, sample_rate=16000, channels=2, dtype="float32")
    for audio, says in (
        (np.zeros(4, np.int16), "this session takes float32"),
        (np.zeros((4, 3), np.float32), "shape"),
        (np.full((4, 2), np.nan, np.float32), "finite"),
        (np.array([np.inf, 0], np.float32).tobytes(), "finite"),
    ):
        with pytest.raises(ValueError, match=says):
            session.feed(audio)
    session.finish()
    for call in (lambda: session.feed(b""), session.flush, session.finish):
        with pytest.raises(StreamError, match="ended"):
            call()


def test_a_whole_recording_is_transcribed_in_pieces(model, talk, clip):
    finals = list(transcribe(model, np.concatenate([talk] * 3), sample_rate=16000, longest_s=6))
    assert len(finals) == 6 and [final.seq for final in finals] == sorted(final.seq for final in finals)
    assert all(before.end_s <= after.start_s + 0.2 for before, after in pairwise(finals))
    (short,) = transcribe(model, clip, sample_rate=16000)
    assert short.text == " ".join(model.stt(clip).split())
    assert (short.start_s, short.reason) == (0, "finish") and short.end_s == pytest.approx(len(clip) / 16000, abs=0.1)
    (resampled,) = transcribe(model, soxr.resample(clip / np.float32(32768), 16000, 44100), sample_rate=44100)
    assert resampled.text[:20] == short.text[:20]
    assert list(transcribe(model, np.zeros(0, np.int16), sample_rate=16000)) == []


def bytes_held(root: object, model: Model) -> int:
    """Of arrays, and of the entries of containers, that an object leads to; the model is not the session's own."""
    seen, left, total = {id(model), *map(id, vars(model).values())}, [root], 0
    while left:
        found = left.pop()
        if id(found) in seen or isinstance(found, type | types.ModuleType | types.FunctionType | BeamDecoder):
            continue
        seen.add(id(found))
        if isinstance(found, np.ndarray):
            total += found.nbytes
        elif isinstance(found, str | bytes | list | tuple | dict | deque):
            total += sys.getsizeof(found)
        left += found if isinstance(found, list | tuple | deque) else found.values() if isinstance(found, dict) else ()
        left += vars(found).values() if hasattr(found, "__dict__") else ()
    return total


@pytest.mark.parametrize("width", [0, 20])
def test_after_an_hour_a_partial_costs_what_it_cost_in_the_first_minute(model, clip, compiled_beam, width):
    """Counted are calls of functions, and bytes that are held: how busy the machine is makes no difference."""
    part = np.concatenate([np.tile(clip, 3), quiet(12 - 3 * len(clip) / 16000)])
    session = Session(model, StreamSettings(beam_width=width), sample_rate=16000)
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    def most_of_a_part() -> tuple[int, int]:
        nonlocal count
        calls, held = 0, 0
        for start in range(0, len(part), 1600):
            count = 0
            sys.setprofile(profile)
            try:
                session.feed(part[start : start + 1600])
            finally:
                sys.setprofile(None)
            calls, held = max(calls, count), max(held, bytes_held(session, model))
        return calls, held

    most_of_a_part()
    first = most_of_a_part()
    for number in range(297):
        session.feed(quiet(12, number) if number % 15 else part)
    last = most_of_a_part()
    assert session.seconds == 3600
    assert last[0] < 1.2 * first[0] and last[1] < 1.1 * first[1] < 3_000_000
