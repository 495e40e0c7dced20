"""What the engine knows of a task. There is one module per task beside this one."""

from typing import Any, Protocol

import numpy as np

from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.data.loader import Clip
from deepspeech_training.data.samples import Sample
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, Layers


class Task(Protocol):
    """A kind of model that the engine can train, evaluate and report on; there is no logic here."""

    name: str
    network: AcousticModel
    feature_geometry: FeatureGeometry
    augmenter: Augmenter | None

    def load(self, sample: Sample) -> Clip:
        """Read one sample, in a worker thread."""

    def read_anew(self) -> None:
        """Take nothing from a cache before it has been read from its file once more."""

    def features(self, audio, num_samples, draws=None) -> tuple[Any, Any]:
        """Waveforms [batch, time] -> features [batch, frames, depth] and num_frames [batch], inside the step.

        In training, `draws` float32 [batch, n] is what the augmentations of the step draw from.
        """

    def build_model(self, kernels, normalisation: Normalisation | None = None, **training_options: Any) -> Layers:
        """Make the keras.Model; see `Network.build`."""

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        """Fresh weights by canonical name."""

    def losses(self, kernels, logits, num_frames, labels, num_labels) -> Any:
        """One loss per clip, [batch]."""

    def training_losses(self, kernels, logits, num_frames, labels, num_labels) -> Any:
        """What training makes smaller, [batch]: `losses`, or with more asked of the network."""

    def decode(self, log_probs: np.ndarray, num_frames: np.ndarray) -> list[str]:
        """Log probabilities [batch, frames, classes] -> one hypothesis per clip."""

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must say so that its weights can be used: geometry, features, labels. JSON values."""
