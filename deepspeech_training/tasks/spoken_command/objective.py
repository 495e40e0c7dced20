"""What the task computes in the step: audio -> features -> logits of every frame -> their mean -> cross entropy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from deepspeech_training.augment.augmenter import StepDraws
from deepspeech_training.augment.catalogue import Augmentation
from deepspeech_training.augment.spectrogram import StepAugmenter
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_keras import mfcc
from deepspeech_training.models.base import Kernels, Layers
from deepspeech_training.tasks.base import Tensors


class CommandObjective:
    """See `tasks.base.Objective`.

    Args:
        features: sample rate, window and step.
        augmentations: those of the step; with them, the arrays of a training batch have its `StepDraws` by name.
        class_weights: float32 [classes]: what a clip of each counts for in training.
    """

    def __init__(self, features: FeatureGeometry, class_weights: np.ndarray, augmentations: Sequence[Augmentation]):
        self._geometry, self._class_weights, self._augmentations = features, class_weights, tuple(augmentations)

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
        inside = ops.arange(ops.shape(logits)[1])[None, :] < lengths[:, None]
        total = ops.sum(ops.where(inside[:, :, None], logits, 0.0), axis=1)
        return {"logits": total / ops.cast(ops.maximum(lengths, 1), "float32")[:, None]}

    def losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        chosen = ops.one_hot(arrays["label"], outputs["logits"].shape[-1])
        return -ops.sum(ops.log_softmax(outputs["logits"]) * chosen, axis=-1)

    def training_losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        return self.losses(kernels, outputs, arrays) * ops.take(self._class_weights, arrays["label"])

    def answers(self, outputs: Tensors) -> Tensors:
        return {"log_probs": ops.log_softmax(outputs["logits"])}
