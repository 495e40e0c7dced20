"""The part of spoken commands that needs no Keras: rows -> examples, and answers -> classes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.checkpoints.describe import Checkpoint
from deepspeech_training.config import Config
from deepspeech_training.console import Console
from deepspeech_training.data.loader import ArraySpec, BatchSpec, Example, SampleFault
from deepspeech_training.data.shard_folder import csvs_of_sets
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.reporting.commands import COMMANDS
from deepspeech_training.runtime.commands import loudest
from deepspeech_training.runtime.listening import Clip, clips_to_hear
from deepspeech_training.tasks.base import Answers, CostUnit
from deepspeech_training.tasks.hearing import DRAWS
from deepspeech_training.tasks.spoken_command.classes import Classes
from deepspeech_training.tasks.spoken_command.clips import CommandSample, cut_of_noise
from deepspeech_training.tasks.spoken_command.metrics import Accuracy, CommandExamination, Heard

if TYPE_CHECKING:
    from deepspeech_training.exporting.folder import ExportedModel
    from deepspeech_training.tasks.spoken_command.objective import CommandObjective


@dataclass(frozen=True)
class Listening:
    """What a model of commands hears.

    Args:
        classes: its answers.
        features: sample rate, window and step.
        clip_seconds: of a clip, at most; a longer one is cut to its loudest part, and a stream is judged by so much.
    """

    classes: Classes
    features: FeatureGeometry
    clip_seconds: float

    @property
    def longest(self) -> int:
        """Samples of a clip that are used, at most."""
        return round(self.clip_seconds * self.features.sample_rate)


class SpokenCommand:
    """See `tasks.base.Task`.

    Args:
        listening: classes and features.
        network: gives every frame logits of the classes.
        class_weights: float32 [classes]: what a clip of each counts for in training.
        augmenter: of the training clips.
        cache: of decoded audio.
        noise: recordings to cut clips of silence from.
        folder: where a test puts its pictures; None for nowhere.
        console: for what a test could not do.
    """

    name = "spoken_command"
    figures = COMMANDS
    best_by = "accuracy"
    num_compared = 20
    metrics = Accuracy

    def __init__(
        self,
        listening: Listening,
        network: AcousticModel,
        *,
        class_weights: np.ndarray,
        augmenter: Augmenter | None = None,
        cache: AudioCache | None = None,
        noise: AudioSource | None = None,
        folder: Path | None = None,
        console: Console,
    ):
        self.listening, self.network = listening, network
        self._class_weights, self._augmenter, self._cache = class_weights, augmenter, cache
        self._noise, self._folder, self._console = noise, folder, console
        self.unit = CostUnit(listening.features.sample_rate, "audio-s/s")
        self.augments = augmenter is not None
        arrays = {
            "audio": ArraySpec("float32", (None,), "num_samples", bucket=listening.features.sample_rate),
            "label": ArraySpec("int32"),
        }
        in_the_step = augmenter is not None and augmenter.in_the_step
        self.spec = BatchSpec(arrays | DRAWS if in_the_step else arrays, cost="num_samples")

    def load(self, sample: CommandSample) -> Example:
        label = np.array(self.listening.classes.names.index(sample.label), np.int32)
        if sample.cut:
            assert self._noise is not None, "it was cut from it"
            return {"audio": cut_of_noise(self._noise, sample), "label": label}
        try:
            if self._cache is not None:
                audio = self._cache.read(sample.path)
            else:
                audio = read_audio(sample.path, sample_rate=self.listening.features.sample_rate)
        except (AudioError, OSError) as error:
            raise SampleFault(f"cannot be read any more: {error}") from error
        audio = loudest(audio, self.listening.longest)
        if self.frames(len(audio)) < 1:  # a header may promise more than there is (MP3)
            raise SampleFault(f"has {len(audio)} samples of audio, which is less than one frame")
        return {"audio": audio, "label": label}

    def read_anew(self) -> None:
        if self._cache is not None:
            self._cache.renew()

    def augment(self, sample: CommandSample, example: Example, *, epoch: int, clock: float) -> Example:
        assert self._augmenter is not None
        audio, draws = self._augmenter(sample.id, example["audio"], needed_frames=1, epoch=epoch, clock=clock)
        return {**example, "audio": audio, **draws._asdict()}

    def frames(self, cost: int) -> int:
        return int(self.listening.features.num_frames(cost))

    def longest(self, cost: int) -> int:
        return cost if self._augmenter is None else self._augmenter.longest(cost)

    def lengthened(self, example: Example) -> Example:
        if self._augmenter is None:
            return example
        audio, draws = self._augmenter.lengthened(example["audio"])
        return {**example, "audio": audio, **draws._asdict()}

    def objective(self) -> "CommandObjective":
        from deepspeech_training.tasks.spoken_command.objective import CommandObjective

        in_the_step = () if self._augmenter is None else self._augmenter.in_the_step
        return CommandObjective(self.listening.features, self._class_weights, in_the_step)

    def decode(self, answers: Answers) -> list[Heard]:
        names = self.listening.classes.names
        return [Heard(names[int(np.argmax(row))], float(np.exp(np.max(row)))) for row in answers["log_probs"]]

    def examination(self) -> CommandExamination:
        return CommandExamination(self.decode, self.listening.classes.names, self._folder, self._console)

    def exported(
        self, checkpoint: Checkpoint, samples: Sequence[CommandSample], config: Config, console: Console
    ) -> "ExportedModel":
        from deepspeech_training.exporting import commands  # flatbuffers, not everywhere installed

        listening = self.listening
        model = commands.CommandsToExport(
            checkpoint.path.name,
            checkpoint.weights,
            listening.classes.names,
            listening.clip_seconds,
            listening.features,
            self.network,
        )
        return commands.export_commands(
            model,
            [Clip(sample.path, sample.label) for sample in samples if not sample.cut],
            listened=recordings_to_listen_to(config, listening.classes, console),
            false_alarms_per_hour=config.commands.false_alarms_per_hour,
            export=config.export,
            language=config.card.export_language,
            console=console,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "labels": list(self.listening.classes.names),
            "clip_seconds": self.listening.clip_seconds,
            "features": asdict(self.listening.features),
            "network": self.network.describe(),
        }


def recordings_to_listen_to(config: Config, classes: Classes, console: Console) -> tuple[list[Clip], list[Clip]] | None:
    """The commands of --dev_files, and --other_speech_files without the rows that have a command in them.

    None without --other_speech_files.

    Raises:
        UserError: a CSV cannot be read, or there are no commands to listen to.
    """
    if not config.commands.other_speech_files:
        return None
    named = csvs_of_sets({"dev": config.data.dev_files, "other_speech": config.commands.other_speech_files})
    said, others = clips_to_hear(named["dev"], named["other_speech"], classes.commands, console)
    if not said:
        raise UserError("--other_speech_files: false alarms are weighed against the commands of --dev_files; give them")
    return said, others
