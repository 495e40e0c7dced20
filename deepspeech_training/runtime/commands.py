"""An exported model of spoken commands at work: int16 samples -> the class of a clip, or the commands in a stream."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepspeech_training.runtime.detection import Detection, Detector, Rule, Scores, judged, logarithms
from deepspeech_training.runtime.intake import Intake
from deepspeech_training.runtime.model_file import CommandsSaid, ModelError, ModelFile
from deepspeech_training.runtime.stream import ExportedNetwork, Recorder

UNKNOWN, SILENCE = "_unknown_", "_silence_"
NO_COMMANDS = (UNKNOWN, SILENCE)


@dataclass(frozen=True)
class Answer:
    """A class and its probability."""

    label: str
    score: float


class SpokenCommandModel(ExportedNetwork):
    """An exported model of `--task spoken_command`. Any number of threads may use one, each with its own streams.

    Args:
        path: a `.tflite` of this task, or one that has been read.
        num_threads: of the network, as `ExportedNetwork` has it.
        rule: when a command counts as heard in a stream; by default what the export has.
    Raises:
        ModelError: the file is not such a model, or is damaged.
    """

    def __init__(
        self, path: str | os.PathLike | ModelFile, *, num_threads: int | None = None, rule: Rule | None = None
    ):
        file = path if isinstance(path, ModelFile) else ModelFile.read(path)
        said = file.commands
        if said is None:
            raise ModelError(
                f"{file.path}: a model of speech to text, which writes what it hears; one of spoken commands is "
                "wanted here\nUse it with `deepspeech transcribe` or `deepspeech stream`."
            )
        super().__init__(file, num_threads=num_threads)
        self.clip_seconds = said.clip_seconds
        self.rule = rule or _rule(said)

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes."""
        return self.file.labels

    @property
    def commands(self) -> tuple[str, ...]:
        """Those of them that are commands."""
        return tuple(label for label in self.labels if label not in NO_COMMANDS)

    @property
    def sample_rate(self) -> int:
        """In Hz, of the audio that it takes."""
        return self.file.geometry.sample_rate

    @property
    def frame_s(self) -> float:
        """From one frame of scores to the next."""
        return self.file.stride * self.file.geometry.step_samples / self.sample_rate

    @property
    def window(self) -> int:
        """Frames of a stream that are judged together."""
        return max(round(self.clip_seconds / self.frame_s), 1)

    @property
    def first_frame(self) -> int:
        """The first one of a stream at which a command can be heard."""
        return self.window // 2

    def classify(self, audio: np.ndarray) -> list[Answer]:
        """All classes with their probabilities for a clip, the likeliest first.

        Args:
            audio: int16 [samples], mono, at `sample_rate`; of a longer clip than the model's the loudest part counts.
        """
        part = loudest(audio, round(self.clip_seconds * self.sample_rate))
        scores = judged(logarithms(self.probabilities(part)))
        order = np.argsort(-scores, kind="stable")
        return [Answer(self.labels[number], float(scores[number])) for number in order]

    def stream(self, rule: Rule | None = None) -> "CommandStream":
        """Begin to listen for commands, by the model's rule if by no other."""
        return CommandStream(self, rule or self.rule)

    def scores(self, audio: np.ndarray) -> np.ndarray:
        """The scores of each frame of a recording, as a stream has them: float64 [frames, classes]."""
        return Scores(self.window, len(self.labels))(self.probabilities(audio))


def _rule(said: CommandsSaid) -> Rule:
    if said.threshold is None or said.hold_off_s is None:
        return Rule()
    return Rule(said.threshold, said.hold_off_s)


class CommandStream:
    """Audio that comes in pieces -> the commands in it. Where it is cut makes no difference."""

    def __init__(self, model: SpokenCommandModel, rule: Rule):
        self._recorder = Recorder(model.file)
        self._stream = model.stream_into(self._recorder)
        self._scores = Scores(model.window, len(model.labels))
        self._detector = Detector(
            model.labels, model.commands, rule, frame_s=model.frame_s, first_frame=model.first_frame
        )

    def __enter__(self) -> "CommandStream":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.freeStream()

    def feed(self, audio: np.ndarray) -> list[Detection]:
        """Take further samples, int16; the commands that are heard by now and were not before."""
        self._stream.feedAudioContent(audio)
        return self._heard()

    def finish(self) -> list[Detection]:
        """What is heard in the rest; the stream ends."""
        self._stream.finishStream()
        return [*self._heard(), *self._detector.finish()]

    def _heard(self) -> list[Detection]:
        frames = self._recorder.take()
        return self._detector(self._scores(frames)) if len(frames) else []


class CommandSession:
    """Audio as a client sends it, of any rate and type -> the commands in it; one caller at a time.

    Args:
        rule: when a command counts as heard; by default what the model has.
        sample_rate, channels, dtype: of the audio that is fed, interleaved "int16" or "float32" (-1..1).
    Raises:
        ValueError: a rate, a number of channels or a type that cannot be.
    """

    def __init__(
        self,
        model: SpokenCommandModel,
        rule: Rule | None = None,
        *,
        sample_rate: int,
        channels: int = 1,
        dtype: str = "int16",
    ):
        self._intake = Intake(sample_rate=sample_rate, channels=channels, dtype=dtype, model_rate=model.sample_rate)
        self._stream = model.stream(rule)

    def feed(self, audio: bytes | np.ndarray) -> list[Detection]:
        """Take further audio, little-endian bytes or an array.

        Raises:
            ValueError: an array of another type or shape, or samples that are not finite numbers.
            StreamError: the session has ended.
        """
        return self._stream.feed(self._intake.feed(audio))

    def finish(self) -> list[Detection]:
        """What is heard in the rest; the session ends."""
        return [*self._stream.feed(self._intake.flush()), *self._stream.finish()]


def class_of(label: str, names: Sequence[str]) -> str | None:
    """The class of a clip that says `label`, among classes; None where it belongs to none."""
    if label in names:
        return label
    return UNKNOWN if UNKNOWN in names and label != SILENCE else None


def loudest(audio: np.ndarray, length: int) -> np.ndarray:
    """The part of `length` samples with the most energy; the whole where it is not longer.

    >>> loudest(np.array([0, 0, 1, 2, 0], np.float32), 2)
    array([1., 2.], dtype=float32)
    """
    if len(audio) <= length:
        return audio
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return audio[start : start + length]
