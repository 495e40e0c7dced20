"""Confidence and end of words, from probabilities made by hand."""

import numpy as np
import pytest

from deepspeech_training.decoding.greedy import GreedyStream
from deepspeech_training.errors import UserError
from deepspeech_training.runtime import Model
from deepspeech_training.runtime.confidence import CONFIDENCE, WITH_SCORER, WITHOUT_SCORER
from deepspeech_training.runtime.posteriors import Posteriors
from deepspeech_training.runtime.utterances import transcribe

SPACE, A, B, BLANK = range(4)


def heard(path: list[int], prob: float = 0.97, *, doubtful: int | None = None) -> Posteriors:
    """Frames in which one class each has `prob`, but for a doubtful one, where all are the same; fed in pieces."""
    probs = np.full((len(path), 4), (1 - prob) / 3, np.float32)
    probs[np.arange(len(path)), path] = prob
    if doubtful is not None:
        probs[doubtful] = 0.25
    posteriors = Posteriors(GreedyStream(blank=BLANK), num_classes=4)
    for start in range(0, len(path), 5):
        posteriors.feed(probs[start : start + 5])
    return posteriors


def test_a_clearer_word_has_more_confidence_and_a_single_doubtful_letter_takes_it_away():
    path = [BLANK, A, A, BLANK, B, BLANK, BLANK, BLANK]
    figures = [heard(path, prob).evidence([A, B], [1, 4], until=8, num_characters=2) for prob in (0.4, 0.7, 0.99)]
    for weights in (WITHOUT_SCORER, WITH_SCORER):
        sure = [evidence.confidence(weights) for evidence in figures]
        assert 0 < sure[0] < sure[1] < sure[2] < 1
    doubtful = heard(path, 0.99, doubtful=4).evidence([A, B], [1, 4], until=8, num_characters=2)
    assert doubtful.lowest_margin == pytest.approx(0) and 0 < doubtful.mean_margin < figures[2].mean_margin
    assert doubtful.confidence(WITHOUT_SCORER) < figures[2].confidence(WITHOUT_SCORER) / 2


def test_a_word_that_is_not_the_likeliest_one_has_a_margin_below_zero():
    evidence = heard([A, A, BLANK], 0.9).evidence([B], [0], until=3, num_characters=1)
    assert evidence.lowest_margin < -2 and evidence.confidence(WITH_SCORER) < 0.01


@pytest.mark.parametrize(
    ("path", "until", "end"),
    [
        ([A, BLANK, BLANK, BLANK, BLANK], 5, 3),  # the frame of its peak, and two
        ([A, A, A, BLANK, BLANK, BLANK], 6, 5),
        ([A, BLANK, SPACE, BLANK], 2, 2),  # not into what comes next
        ([A, A], 2, 2),
        ([A], 1, 1),  # never shorter than a frame
    ],
)
def test_a_word_ends_when_its_last_letter_is_no_longer_heard(path, until, end):
    assert heard(path).evidence([A], [0], until=until, num_characters=1).end_frame == end


def test_what_is_dropped_changes_nothing_for_the_words_after_it():
    path = [A, BLANK, SPACE, BLANK, B, B, BLANK, A, BLANK]
    whole, dropped = heard(path), heard(path)
    dropped.drop_before(2)
    assert len(dropped._probs) == 7
    assert whole.evidence([B, A], [4, 7], until=9, num_characters=2) == dropped.evidence(
        [B, A], [4, 7], until=9, num_characters=2
    )


def test_a_model_may_have_weights_of_its_own(tmp_path, model_path, clip):
    path, own = tmp_path / "model.tflite", tmp_path / "model.confidence.json"
    path.symlink_to(model_path)
    assert Model(path).confidence == CONFIDENCE
    own.write_text('{"without_scorer": [-1, 0, 0, 0], "with_scorer": [0, 1, 1, 1]}')
    (final,) = transcribe(Model(path), clip, sample_rate=16000)
    assert [word.confidence for word in final.words] == pytest.approx([1 / (1 + np.exp(1))] * len(final.words))
    for wrong in ("", "[]", '{"without_scorer": [1]}', own.read_text().replace("-1", "NaN")):
        own.write_text(wrong)
        with pytest.raises(UserError, match=r"model\.confidence\.json: it must have without_scorer and with_scorer, 4"):
            Model(path)
