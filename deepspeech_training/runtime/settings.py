"""How one stream of a model decodes, independently of the other streams of that model."""

from dataclasses import dataclass

from deepspeech_training.decoding.beam import LARGEST_BEAM
from deepspeech_training.decoding.scorer import Scorer, check_weight

MOST_RESULTS = 100
LONGEST_COMMIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How one stream decodes. Streams with equal settings share one decoder; a scorer is equal to itself alone.

    Args:
        beam_width: hypotheses that are kept after each frame; 0: greedy; None: as the model is set, and with a scorer,
            or where several results are wanted, at least with the beam width of the export.
        scorer: a language model with its dictionary; None: none, whatever the model has enabled.
        alpha, beta: instead of the scorer's.
        hot_words: pairs of a word and what to add to its log probability.
        num_results: the most candidates of a final result.
        commit_s: a word of the best hypothesis that is so many seconds old is decided, and hypotheses with another word
            there are dropped; None: never, as in DeepSpeech 0.9.3, where the first word may change until the end.
    Raises:
        ValueError: a number is out of bounds, or needs a scorer or a beam.
    """

    beam_width: int | None = None
    scorer: Scorer | None = None
    alpha: float | None = None
    beta: float | None = None
    hot_words: tuple[tuple[str, float], ...] = ()
    num_results: int = 1
    commit_s: float | None = 1.5

    def __post_init__(self) -> None:
        if self.beam_width is not None and not 0 <= self.beam_width <= LARGEST_BEAM:
            raise ValueError(f"beam width {self.beam_width}: it must be from 0 (greedy) to {LARGEST_BEAM}")
        if not 1 <= self.num_results <= MOST_RESULTS:
            raise ValueError(f"{self.num_results} results: it must be from 1 to {MOST_RESULTS}")
        if self.commit_s is not None and not 0 <= self.commit_s <= LONGEST_COMMIT_S:
            raise ValueError(f"commit_s {self.commit_s}: it must be from 0 to {LONGEST_COMMIT_S} seconds")
        if self.beam_width == 0 and self.scorer is not None:
            raise ValueError("beam width 0 decodes greedily, which has no use for a scorer: leave one of them out")
        if self.scorer is None and (self.alpha, self.beta, self.hot_words) != (None, None, ()):
            raise ValueError("alpha, beta and hot words need a scorer: they change what a scorer does")
        check_weight("alpha", self.alpha or 0.0)
        check_weight("beta", self.beta or 0.0)
        for word, boost in self.hot_words:
            check_weight(f"boost of {word!r}", boost)
        if len(dict(self.hot_words)) < len(self.hot_words):
            raise ValueError("a hot word is given twice")

    def width(self, *, of_model: int | None, of_export: int) -> int:
        """The beam width to decode with, 0 for greedy: `of_model` is what was set for the model, None for nothing."""
        if self.beam_width is not None:
            return self.beam_width
        needs_beam = self.scorer is not None or self.num_results > 1
        return of_model or (of_export if needs_beam else 0)
