"""The part of speech to text that needs no Keras: rows -> examples, and answers -> transcripts."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import Augmentation
from deepspeech_training.checkpoints.describe import Checkpoint
from deepspeech_training.config import Config
from deepspeech_training.console import Console
from deepspeech_training.data.loader import ArraySpec, Batch, BatchSpec, Example, SampleFault, make_batch
from deepspeech_training.data.sample import labels_with_repeats
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.decoding import DECODERS
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.reporting.figures import SPEECH_TO_TEXT
from deepspeech_training.tasks.base import Answers, CostUnit
from deepspeech_training.tasks.hearing import DRAWS
from deepspeech_training.tasks.speech_to_text.decoder import Beam
from deepspeech_training.tasks.speech_to_text.metrics import ErrorRates, SpeechExamination

if TYPE_CHECKING:
    from deepspeech_training.exporting.folder import ExportedModel
    from deepspeech_training.tasks.speech_to_text.objective import SpeechObjective


class SpeechToText:
    """DeepSpeech's task.

    Args:
        alphabet: the labels.
        features: sample rate, window and step.
        network: what hears.
        decoder: a name in `decoding.DECODERS`.
        augmenter: of the training clips.
        cache: of decoded audio.
        leading_blanks: frames of features at the start of a clip in which the training loss allows no letter.
        cr_ctc: weight of the difference of two views of a clip in the training loss; 0 for one view.
        inter_ctc: share of the CTC loss of what the network writes halfway.
        beam: for tests and transcripts; None for greedy decoding.
    """

    name = "speech_to_text"
    figures = SPEECH_TO_TEXT
    best_by = "cer"
    num_compared = 20
    metrics = ErrorRates

    def __init__(
        self,
        alphabet: Alphabet | ByteAlphabet,
        features: FeatureGeometry,
        network: AcousticModel,
        *,
        decoder: str = "greedy",
        augmenter: Augmenter | None = None,
        cache: AudioCache | None = None,
        leading_blanks: int = 0,
        cr_ctc: float = 0.0,
        inter_ctc: float = 0.0,
        beam: Beam | None = None,
    ):
        self.alphabet = alphabet
        self.feature_geometry = features
        self.network = network
        self._augmenter = augmenter
        self._cache = cache
        self._leading_blanks, self._cr_ctc, self._inter_ctc = leading_blanks, cr_ctc, inter_ctc
        self._decode = DECODERS[decoder]
        self._beam = beam

        self.unit = CostUnit(features.sample_rate, "audio-s/s")
        self.augments = augmenter is not None
        arrays = {
            "audio": ArraySpec("float32", (None,), "num_samples", bucket=features.sample_rate),
            "labels": ArraySpec("int32", (None,), "num_labels"),
        }
        self.spec = BatchSpec(arrays | DRAWS if self._in_the_step else arrays, cost="num_samples")

    @property
    def _in_the_step(self) -> tuple[Augmentation, ...]:
        return () if self._augmenter is None else self._augmenter.in_the_step

    def load(self, sample: SpeechSample) -> Example:
        try:
            if self._cache is not None:
                audio = self._cache.read(sample.path)
            else:
                audio = read_audio(sample.path, sample_rate=self.feature_geometry.sample_rate)
        except (AudioError, OSError) as error:
            raise SampleFault(f"cannot be read any more: {error}") from error
        frames = self.network.output_lengths(int(self.feature_geometry.num_frames(len(audio))))
        needed = labels_with_repeats(sample.labels)
        if frames < needed:  # a header may promise more than there is (MP3)
            raise SampleFault(f"has {frames} frames of audio; its transcript needs {needed}")
        return {"audio": audio, "labels": np.asarray(sample.labels, np.int32)}

    def read_anew(self) -> None:
        if self._cache is not None:
            self._cache.renew()

    def augment(self, sample: SpeechSample, example: Example, *, epoch: int, clock: float) -> Example:
        assert self._augmenter is not None
        needed = labels_with_repeats(sample.labels) * self.network.stride
        audio, draws = self._augmenter(sample.id, example["audio"], needed_frames=needed, epoch=epoch, clock=clock)
        return {**example, "audio": audio, **draws._asdict()}

    def frames(self, cost: int) -> int:
        frames = int(self.feature_geometry.num_frames(cost)) + self.network.hears_the_rest
        return 2 * frames if self._cr_ctc else frames

    def longest(self, cost: int) -> int:
        return cost if self._augmenter is None else self._augmenter.longest(cost)

    def lengthened(self, example: Example) -> Example:
        if self._augmenter is None:
            return example
        audio, draws = self._augmenter.lengthened(example["audio"])
        return {**example, "audio": audio, **draws._asdict()}

    def objective(self) -> "SpeechObjective":
        from deepspeech_training.tasks.speech_to_text.objective import SpeechObjective

        return SpeechObjective(
            self.feature_geometry,
            augmentations=self._in_the_step,
            leading_blanks=self.network.output_lengths(self._leading_blanks),
            hears_the_rest=self.network.hears_the_rest,
            cr_ctc=self._cr_ctc,
            inter_ctc=self._inter_ctc,
        )

    def decode(self, answers: Answers) -> list[str]:
        return [
            self.alphabet.decode(self._decode(clip[:frames], blank=self.alphabet.blank))
            for clip, frames in zip(answers["log_probs"], answers["lengths"], strict=True)
        ]

    def examination(self) -> SpeechExamination:
        if self._beam is None:
            return SpeechExamination(self.decode, None, None)
        return SpeechExamination(self.decode, self._beam.clips(compares=True), self._beam.knows)

    def transcribe(self, path: str, answers_of: Callable[[Batch], Answers]) -> str:
        try:
            audio = read_audio(path, sample_rate=self.feature_geometry.sample_rate)
        except AudioError as error:
            raise UserError(f"--one_shot_infer {path}: {error}") from error
        if self.feature_geometry.num_frames(len(audio)) < 1:
            raise UserError(
                f"--one_shot_infer {path}: shorter than one window of {self.feature_geometry.win_len_ms} ms"
            )
        nameless: list[Any] = [None]  # it is no row of a CSV
        answers = answers_of(make_batch(self.spec, nameless, [{"audio": audio, "labels": np.zeros(1, np.int32)}]))
        with (self._beam and self._beam.clips()) or nullcontext() as decoder:
            if decoder is None:
                return self.decode(answers)[0]
            return decoder.submit(answers["log_probs"][0, : answers["lengths"][0]]).result().text

    def exported(
        self, checkpoint: Checkpoint, samples: Sequence[SpeechSample], config: Config, console: Console
    ) -> "ExportedModel":
        from deepspeech_training.exporting.speech import export_speech  # flatbuffers, not everywhere installed

        return export_speech(
            checkpoint.speech_model(self.alphabet),
            samples,
            export=config.export,
            language=config.card.export_language,
            console=console,
            scorer_path="" if self._beam is None else self._beam.scorer_path,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "alphabet": list(self.alphabet.characters),
            "features": asdict(self.feature_geometry),
            "network": self.network.describe(),
        }
