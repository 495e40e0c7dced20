"""What speech to text computes in the step: audio -> features -> logits -> CTC loss or log probabilities."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from deepspeech_training.augment.augmenter import StepDraws
from deepspeech_training.augment.catalogue import Augmentation
from deepspeech_training.augment.spectrogram import StepAugmenter
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_keras import mfcc
from deepspeech_training.models.base import Kernels, Layers
from deepspeech_training.models.leading_blanks import leading_blanks
from deepspeech_training.tasks.base import Tensors


class SpeechObjective:
    """See `tasks.base.Objective`.

    Args:
        features: sample rate, window and step.
        augmentations: those of the step; with them, the arrays of a training batch have its `StepDraws` by name.
        leading_blanks: frames of the network at the start of a clip in which the training loss allows no letter.
    """

    def __init__(
        self, features: FeatureGeometry, *, augmentations: Sequence[Augmentation] = (), leading_blanks: int = 0
    ):
        self._geometry, self._augmentations, self._leading_blanks = features, tuple(augmentations), leading_blanks

    def features(self, arrays: Tensors) -> tuple[Any, Any]:
        """Features float32 [batch, frames, depth], augmented in training, and their lengths int32 [batch]."""
        augmenter = None
        if self._augmentations and "keys" in arrays:
            draws = StepDraws(*(arrays[name] for name in StepDraws._fields))
            augmenter = StepAugmenter(self._augmentations, self._geometry, draws)
        return mfcc(arrays["audio"], arrays["num_samples"], self._geometry, augmenter=augmenter)

    def outputs(self, layers: Layers, arrays: Tensors, *, clip_keys: Any = None) -> Tensors:
        features, num_frames = self.features(arrays)
        logits, lengths = layers(ops.stop_gradient(features), num_frames, clip_keys=clip_keys)
        return {"logits": logits, "lengths": lengths}

    def losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        return kernels.ctc_loss(outputs["logits"], outputs["lengths"], arrays["labels"], arrays["num_labels"])

    def training_losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        if not self._leading_blanks:
            return self.losses(kernels, outputs, arrays)
        logits, cost = leading_blanks(
            outputs["logits"], outputs["lengths"], arrays["labels"], arrays["num_labels"], most=self._leading_blanks
        )
        return cost + self.losses(kernels, {**outputs, "logits": logits}, arrays)

    def answers(self, outputs: Tensors) -> Tensors:
        return {"log_probs": ops.log_softmax(outputs["logits"]), "lengths": outputs["lengths"]}
