"""Sessions: utterances end by themselves, and where the audio is cut changes nothing."""

import numpy as np
import pytest

from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.runtime import Model
from deepspeech_training.runtime.model import DECODERS_KEPT
from deepspeech_training.runtime.utterances import Final, Session, SpeechEnded, SpeechStarted, StreamSettings


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
