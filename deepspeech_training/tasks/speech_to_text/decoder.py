"""The beam and the scorer that the flags ask for, in tests and one-shot inference."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.alphabet import ByteAlphabet, Labels
from deepspeech_training.config.groups import DecoderFlags
from deepspeech_training.console import Console
from deepspeech_training.data.sample import CheckedData
from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.clip_decoder import ClipDecoder
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.scorer.build import Estimation, Package, build_scorer

# Transcripts of more words than this lose their rare n-grams, as DeepSpeech's scorers do; fewer need all they have.
WORDS_TO_PRUNE = 1_000_000


def read_scorer(path: str, alphabet: Labels) -> Scorer | None:
    """The scorer of a file, checked against the alphabet; None for "".

    Raises:
        ScorerError: the file is no scorer, is damaged, or was built for another alphabet.
    """
    if not path:
        return None
    scorer = Scorer.read(path)
    scorer.check_labels(_labels_of(alphabet))
    return scorer


@dataclass(frozen=True)
class Beam:
    """The beam and the scorer that the flags ask for.

    Args:
        scorer, scorer_path: None and "" for none.
        say: gets a line where the first beam is slow to start.
    """

    flags: DecoderFlags
    alphabet: Labels
    scorer: Scorer | None
    scorer_path: str
    say: Callable[[str], None]

    def clips(self, *, compares: bool = False) -> ClipDecoder | None:
        """A decoder of clips, with `compares` one that tells too what it hears without the scorer; None: greedy."""
        if not self.flags.beam_width:
            return None
        if self.scorer is None:
            return ClipDecoder(self._decoder(), self.alphabet.decode)
        scored = self._decoder(scorer=self.scorer, alpha=self.flags.lm_alpha, beta=self.flags.lm_beta)
        return ClipDecoder(scored, self.alphabet.decode, without_scorer=self._decoder() if compares else None)

    @property
    def knows(self) -> Callable[[str], bool] | None:
        """Says whether the scorer has a word; None without a scorer."""
        return None if self.scorer is None else self.scorer.language_model.__contains__

    def _decoder(self, **of_scorer: Any) -> BeamDecoder:
        return BeamDecoder(
            _labels_of(self.alphabet),
            width=self.flags.beam_width,
            cutoff_prob=self.flags.cutoff_prob,
            cutoff_top_n=self.flags.cutoff_top_n,
            say=self.say,
            **of_scorer,
        )


def scorer_of_training(alphabet: Labels, checked: CheckedData, folder: Path, *, trains: bool, console: Console) -> Path:
    """Make the scorer of --train_scorer, or find the one that the training made; -> its path.

    Raises:
        UserError: there is none, and nothing to make it of.
    """
    package = folder / "train.scorer"
    if not trains:
        if not package.is_file():
            raise UserError(
                f"{package}: --train_scorer: there is no such file\n"
                "It is made when --train_files are given; else name a scorer with --scorer."
            )
        return package
    folder.mkdir(parents=True, exist_ok=True)
    transcripts = [s.transcript for found in checked.sets["train"] for s in found.samples]
    prune = "0" if sum(len(transcript.split()) for transcript in transcripts) <= WORDS_TO_PRUNE else None
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "transcripts of --train_files"
        text.write_text("".join(f"{transcript}\n" for transcript in transcripts), encoding="utf-8")
        build_scorer(
            Package(str(package), alphabet),
            Estimation(arpa_prune=prune, discount_fallback=True),
            texts=[str(text)],
            keep_case=True,
            console=console,
        )
    return package


def _labels_of(alphabet: Labels) -> tuple[str, ...] | None:
    """Labels as the decoder takes them: None for bytes."""
    return None if isinstance(alphabet, ByteAlphabet) else tuple(alphabet.characters)
