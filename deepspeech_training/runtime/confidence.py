"""How likely a word is right, and where it ends: from what the network said of each class in the frames of the word.

The probability is a logistic function of three figures. For each character the margin is the logarithm of its
probability against that of the likeliest other class, where that is highest within its frames; the figures are the
mean and the lowest margin of the word, and the logarithm of its length. The weights were fitted by
`benchmarks/confidence.py`, which prints how well they hold for other speakers (docs/inference.md); for a model that is
surer of itself than it should be it writes others, which are read from beside the model.
"""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

from deepspeech_training.errors import UserError


class Weights(NamedTuple):
    """Of the logistic function."""

    bias: float
    mean_margin: float
    lowest_margin: float
    log_length: float


class Confidence(NamedTuple):
    """The weights of a model, for decoding without a scorer and with one."""

    without_scorer: Weights
    with_scorer: Weights


WITHOUT_SCORER = Weights(-3.590, 0.535, 0.647, 1.539)
WITH_SCORER = Weights(-2.415, 0.499, 0.282, 1.896)
CONFIDENCE = Confidence(WITHOUT_SCORER, WITH_SCORER)


def confidence_path(model_path: str | os.PathLike) -> Path:
    """Where weights of a model's own lie: model.confidence.json beside model.tflite."""
    return Path(model_path).with_suffix(".confidence.json")


def read_confidence(model_path: str | os.PathLike) -> Confidence:
    """The weights of a model: its own, else those that were fitted for all.

    Raises:
        UserError: the file beside the model is there and cannot be used.
    """
    path = confidence_path(model_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return CONFIDENCE
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the weights of the confidence: {error}") from None
    try:
        values = json.loads(text)
        own = Confidence(*(Weights(*map(float, values[name])) for name in Confidence._fields))
        if not all(map(math.isfinite, (*own.without_scorer, *own.with_scorer))):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{path}: it must have {' and '.join(Confidence._fields)}, {len(Weights._fields)} numbers each\n"
            "Write it with benchmarks/confidence.py --write, or delete it."
        ) from None
    return own


class Evidence(NamedTuple):
    """What the network said of a word: the frame after its last one, and the figures that its confidence comes from."""

    end_frame: int
    mean_margin: float
    lowest_margin: float
    log_length: float

    def confidence(self, weights: Weights) -> float:
        """The probability that the word is right."""
        score = weights.bias + sum(weight * figure for weight, figure in zip(weights[1:], self[1:], strict=True))
        return 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))
