"""Speech to text: a Sample's audio -> features -> logits -> CTC loss, and log probabilities -> transcript."""

from dataclasses import asdict
from typing import Any

import numpy as np

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.spectrogram import StepAugmenter
from deepspeech_training.data.loader import Clip, ClipFault
from deepspeech_training.data.samples import Sample, labels_with_repeats
from deepspeech_training.decoding import DECODERS
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_keras import mfcc
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, Layers
from deepspeech_training.models.leading_blanks import leading_blanks


class SpeechToText:
    """DeepSpeech's task.

    Args:
        alphabet: the labels.
        features: sample rate, window and step.
        network: what hears.
        decoder: a name in `decoding.DECODERS`.
        augmenter: of the training clips.
        cache: of decoded audio.
        leading_blanks: frames at the start of a clip in which the training loss allows no letter.
    """

    name = "speech_to_text"

    def __init__(
        self,
        alphabet: Alphabet,
        features: FeatureGeometry,
        network: AcousticModel,
        *,
        decoder: str = "greedy",
        augmenter: Augmenter | None = None,
        cache: AudioCache | None = None,
        leading_blanks: int = 0,
    ):
        self.alphabet = alphabet
        self.feature_geometry = features
        self.network = network
        self.augmenter = augmenter
        self._cache = cache
        self._leading_blanks = leading_blanks
        self._decode = DECODERS[decoder]

    def load(self, sample: Sample) -> Clip:
        try:
            if self._cache is not None:
                audio = self._cache.read(sample.path)
            else:
                audio = read_audio(sample.path, sample_rate=self.feature_geometry.sample_rate)
        except (AudioError, OSError) as error:
            raise ClipFault(f"cannot be read any more: {error}") from error
        labels = np.asarray(sample.labels, np.int32)
        frames = self.network.output_lengths(self.feature_geometry.num_frames(len(audio)))
        if frames < labels_with_repeats(labels):  # a header may promise more than there is (MP3)
            raise ClipFault(f"has {frames} frames of audio; its transcript needs {labels_with_repeats(labels)}")
        return Clip(audio, labels)

    def read_anew(self) -> None:
        if self._cache is not None:
            self._cache.renew()

    def features(self, audio, num_samples, draws=None):
        augmenter = None
        if draws is not None and self.augmenter is not None and self.augmenter.in_the_step:
            augmenter = StepAugmenter(self.augmenter.in_the_step, self.feature_geometry, draws)
        return mfcc(audio, num_samples, self.feature_geometry, augmenter=augmenter)

    def build_model(self, kernels, normalisation: Normalisation | None = None, **training_options: Any) -> Layers:
        return self.network.build(kernels, normalisation=normalisation, **training_options)

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        return self.network.initial_weights(seed=seed)

    def losses(self, kernels, logits, num_frames, labels, num_labels):
        return kernels.ctc_loss(logits, num_frames, labels, num_labels)

    def training_losses(self, kernels, logits, num_frames, labels, num_labels):
        if not self._leading_blanks:
            return self.losses(kernels, logits, num_frames, labels, num_labels)
        logits, cost = leading_blanks(logits, num_frames, labels, num_labels, most=self._leading_blanks)
        return cost + self.losses(kernels, logits, num_frames, labels, num_labels)

    def decode(self, log_probs: np.ndarray, num_frames: np.ndarray) -> list[str]:
        return [
            self.alphabet.decode(self._decode(clip[:frames], blank=self.alphabet.blank))
            for clip, frames in zip(log_probs, num_frames, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "alphabet": list(self.alphabet.characters),
            "features": asdict(self.feature_geometry),
            "network": self.network.describe(),
        }
