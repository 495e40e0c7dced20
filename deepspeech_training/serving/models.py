"""The models that are served: checked, loaded, and what is known of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from deepspeech_training.audio.synthetic_speech import synthesize_seconds
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.machine.resources import available_memory, gigabytes
from deepspeech_training.registry.store import Version
from deepspeech_training.runtime.commands import SpokenCommandModel
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.model_files import read_model_file
from deepspeech_training.runtime.profile import Profile
from deepspeech_training.runtime.pronouncer import Pronouncer
from deepspeech_training.runtime.pronunciation_file import PronunciationFile
from deepspeech_training.runtime.stream import to_int16
from deepspeech_training.runtime.utterances import StreamSettings, transcribe
from deepspeech_training.serving.drift import Window
from deepspeech_training.serving.facts import facts_of_commands, facts_of_model, facts_of_words
from deepspeech_training.serving.sources import ModelSource

# Resident bytes for each byte of the file: XNNPACK's layout of int8 weights (docs/inference.md); float32 takes less.
BYTES_PER_INTERPRETER = 6
BYTES_PER_WEIGHT = 8  # of a model of words: float32, and as much for what it computes


@dataclass(frozen=True, eq=False, kw_only=True)
class Served:
    """A model at work, whatever its task. One that is replaced lives on in the sessions that began with it.

    Attributes:
        facts: what a client may know of it (facts.py).
    """

    does: ClassVar[str]  # what it does, after "which"
    asked_by: ClassVar[str]  # where it is asked
    name: str
    facts: dict[str, Any] = field(repr=False)

    @property
    def language(self) -> str:
        """As the card has it, such as "en-US"; empty where it says none."""
        return self.facts["language"]

    @property
    def task(self) -> str:
        return self.facts["task"]

    def try_out(self) -> None:
        """Let it do a little of what it does, of which nothing comes."""
        raise NotImplementedError  # no ABC: `Served` itself stands for "of any task" where a kind is asked for


@dataclass(frozen=True, eq=False, kw_only=True)
class Hearing(Served):
    """One that hears."""

    @property
    def sample_rate(self) -> int:
        return self.facts["sample_rate"]

    def second(self) -> np.ndarray:
        """A second of speech, int16 samples at its rate."""
        audio, _ = synthesize_seconds(1.0, sample_rate=self.sample_rate)
        return to_int16(audio)


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedModel(Hearing):
    """One of speech to text.

    Attributes:
        reference: what its test set was like; None where its card does not tell it.
        knows: whether it can know a word: of its scorer, or of the transcripts that it was trained on; None: not known.
        window: what it has heard lately.
    """

    does = "writes what is said"
    asked_by = "POST /v1/audio/transcriptions or /v1/stream"
    model: Model
    scorer: Scorer | None
    reference: Profile | None = None
    knows: Callable[[str], bool] | None = None
    window: Window = field(default_factory=Window, repr=False)

    def try_out(self) -> None:
        self.model.stt(self.second())


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedCommands(Hearing):
    """One of spoken commands."""

    does = "hears commands"
    asked_by = "POST /v1/audio/classifications or /v1/detect"
    model: SpokenCommandModel

    def try_out(self) -> None:
        self.model.classify(self.second())


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedWords(Served):
    """One of words: to their pronunciations, or back."""

    does = "pronounces or spells words"
    asked_by = "GET or POST /v1/g2p"
    model: Pronouncer

    def try_out(self) -> None:
        self.model.answers([self.model.source.symbols[0]])


def load(sources: Sequence[ModelSource], *, num_threads: int) -> list[Served]:
    """Check and load models.

    Args:
        num_threads: calls of a network at the same time, each with working memory of its own.
    Raises:
        UserError: a file is damaged or of another kind, they do not fit together, or there is too little memory.
    """
    for source in sources:
        if source.registered is not None:
            source.registered.check()
    files = [read_model_file(source.path) for source in sources]
    check_memory(files, num_threads, free=available_memory())
    return [_load(source, file, num_threads) for source, file in zip(sources, files, strict=True)]


def _load(source: ModelSource, file: ModelFile | PronunciationFile, num_threads: int) -> Served:
    if isinstance(file, PronunciationFile):
        return ServedWords(name=source.name, facts=facts_of_words(source, file), model=file.pronouncer())
    if file.commands is not None:
        commands = SpokenCommandModel(file, num_threads=num_threads)
        return ServedCommands(name=source.name, facts=facts_of_commands(source, commands), model=commands)
    model = Model(file, num_threads=num_threads)
    scorer = None
    if source.scorer is not None:
        scorer = Scorer.read(source.scorer)
        scorer.check_labels(None if file.bytes_mode else file.labels)
    return ServedModel(
        name=source.name,
        facts=facts_of_model(source, model, scorer),
        model=model,
        scorer=scorer,
        reference=_reference(source.registered) if source.registered else None,
        knows=_knows(source, scorer),
    )


def warm_up(served: Served) -> None:
    """Try a model out as it will be used: compiled parts are compiled now, once on a machine."""
    if not isinstance(served, ServedModel):
        served.try_out()
        return
    settings = StreamSettings(scorer=served.scorer)
    for _ in transcribe(served.model, served.second(), sample_rate=served.sample_rate, settings=settings):
        pass


def check_memory(files: Sequence[ModelFile | PronunciationFile], num_threads: int, *, free: int | None) -> None:
    """Refuse models that would end the process for want of memory.

    Args:
        free: bytes that can be taken; None where that cannot be told.
    Raises:
        UserError: they need more than that.
    """
    needed = sum(
        BYTES_PER_WEIGHT * file.network.num_parameters
        if isinstance(file, PronunciationFile)
        else len(file.data) * (1 + BYTES_PER_INTERPRETER * num_threads)
        for file in files
    )
    if free is not None and needed > free:
        raise UserError(
            f"{', '.join(file.path for file in files)}: served on {num_threads - 1} threads the model needs some "
            f"{gigabytes(needed)} of memory, and {gigabytes(free)} are free\n"
            "Give the service more, lower --threads, or export with int8 weights."
        )


def _reference(version: Version) -> Profile | None:
    """The profile of the test set; None where it was registered without one, or by an earlier version."""
    try:
        return Profile.from_json(version.card()["profile"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _knows(source: ModelSource, scorer: Scorer | None) -> Callable[[str], bool] | None:
    if scorer is not None:
        return None if scorer.bytes_mode else scorer.language_model.__contains__
    vocabulary = source.registered.vocabulary() if source.registered else None
    return None if vocabulary is None else vocabulary.__contains__
