"""How an exported model decodes: with which scorer and weights, which hot words, and how wide a beam."""

from dataclasses import dataclass

from deepspeech_training.decoding.beam import LARGEST_BEAM
from deepspeech_training.decoding.scorer import Scorer, check_weight
from deepspeech_training.errors import FlagError
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.settings import StreamSettings


@dataclass(frozen=True)
class BeamOptions:
    """The options that all commands share which decode; None is the scorer's, the export's or greedy.

    Raises:
        FlagError: a value is out of bounds, or needs a scorer.
    """

    scorer: str | None = None
    beam_width: int | None = None
    lm_alpha: float | None = None
    lm_beta: float | None = None
    hot_words: str | None = None

    def __post_init__(self):
        if self.beam_width is not None and not 0 <= self.beam_width <= LARGEST_BEAM:
            raise FlagError(f"--beam_width {self.beam_width}: it must be from 0 (greedy) to {LARGEST_BEAM}")
        if self.scorer is None:
            for name in ("lm_alpha", "lm_beta", "hot_words"):
                if getattr(self, name) is not None:
                    raise FlagError(f"--{name} needs --scorer: it changes what a scorer does")
        elif self.beam_width == 0:
            raise FlagError("--beam_width 0 decodes greedily, which has no use for --scorer: leave one of them out")
        try:
            for name in ("lm_alpha", "lm_beta"):
                check_weight(f"--{name}", getattr(self, name) or 0.0)
            _ = self.boosts
        except ValueError as error:
            raise FlagError(str(error)) from None

    @property
    def boosts(self) -> dict[str, float]:
        """The hot words and how much likelier each is.

        >>> BeamOptions(scorer="en.scorer", hot_words="coffee:7.5,tea:-2").boosts
        {'coffee': 7.5, 'tea': -2.0}
        """
        found: dict[str, float] = {}
        for part in self.hot_words.split(",") if self.hot_words is not None else ():
            word, colon, boost = part.rpartition(":")
            try:
                if not colon or not word.strip():
                    raise ValueError
                number = float(boost)
            except ValueError:
                raise ValueError(f"--hot_words {part!r}: it must be a word, a colon and a number") from None
            if word.strip() in found:
                raise ValueError(f"--hot_words: {word.strip()!r} is given twice")
            found[word.strip()] = check_weight(f"--hot_words {word.strip()}", number)
        return found

    def for_streams(self) -> StreamSettings:
        """The same for streams that have settings of their own.

        Raises:
            ScorerError: the scorer cannot be read.
        """
        scorer = None if self.scorer is None else Scorer.read(self.scorer)
        return StreamSettings(self.beam_width, scorer, self.lm_alpha, self.lm_beta, tuple(self.boosts.items()))

    def set_up(self, model: Model, *, candidates: int = 1) -> None:
        """Make a model decode so; several candidates need a beam too.

        Raises:
            ScorerError: the scorer cannot be used with the model.
        """
        if self.scorer is not None:
            model.enableExternalScorer(self.scorer)
            if self.lm_alpha is not None or self.lm_beta is not None:
                alpha, beta = model.scorerAlphaBeta()
                model.setScorerAlphaBeta(
                    alpha if self.lm_alpha is None else self.lm_alpha, beta if self.lm_beta is None else self.lm_beta
                )
            for word, boost in self.boosts.items():
                model.addHotWord(word, boost)
        if self.beam_width is not None:
            model.setBeamWidth(self.beam_width)
        elif candidates > 1 and self.scorer is None:
            model.setBeamWidth(model.beamWidth())
