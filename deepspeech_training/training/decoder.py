"""The beam and the scorer that the flags ask for, in tests and one-shot inference."""

import tempfile
from pathlib import Path
from typing import Any

from deepspeech_training.alphabet import ByteAlphabet
from deepspeech_training.config.groups import DecoderFlags
from deepspeech_training.console import Console
from deepspeech_training.data.sample import CheckedData
from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.clip_decoder import ClipDecoder
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.scorer.build import Estimation, Package, build_scorer
from deepspeech_training.training.labels import Labels


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


def clip_decoder(
    flags: DecoderFlags, alphabet: Labels, scorer: Scorer | None, *, console: Console, compares: bool = False
) -> ClipDecoder | None:
    """The beam that the flags ask for, and with `compares` the same without the scorer; None: greedy."""
    if not flags.beam_width:
        return None

    def beam(**of_scorer: Any) -> BeamDecoder:
        return BeamDecoder(
            _labels_of(alphabet),
            width=flags.beam_width,
            cutoff_prob=flags.cutoff_prob,
            cutoff_top_n=flags.cutoff_top_n,
            say=console.info,
            **of_scorer,
        )

    if scorer is None:
        return ClipDecoder(beam(), alphabet.decode)
    scored = beam(scorer=scorer, alpha=flags.lm_alpha, beta=flags.lm_beta)
    return ClipDecoder(scored, alphabet.decode, without_scorer=beam() if compares else None)


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
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "transcripts of --train_files"
        text.write_text("".join(f"{transcript}\n" for transcript in transcripts), encoding="utf-8")
        build_scorer(
            Package(str(package), alphabet),
            Estimation(discount_fallback=True),
            texts=[str(text)],
            keep_case=True,
            console=console,
        )
    return package


def _labels_of(alphabet: Labels) -> tuple[str, ...] | None:
    """Labels as the decoder takes them: None for bytes."""
    return None if isinstance(alphabet, ByteAlphabet) else alphabet.characters
