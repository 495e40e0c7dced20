"""What speech to text computes in the step: audio -> features -> logits -> CTC loss or log probabilities."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from deepspeech_training.augment.augmenter import StepDraws
from deepspeech_training.augment.catalogue import Augmentation
from deepspeech_training.augment.random import layer_keys
from deepspeech_training.augment.spectrogram import StepAugmenter
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_keras import mfcc
from deepspeech_training.models.base import Kernels, Layers, LayersWithHalfway
from deepspeech_training.models.leading_blanks import leading_blanks
from deepspeech_training.tasks.base import Tensors
from deepspeech_training.tasks.speech_to_text.consistency import difference

OF_VIEWS = 1 << 20  # users of the keys of clips from here on are views; layers have lower numbers


class SpeechObjective:
    """See `tasks.base.Objective`.

    Args:
        features: sample rate, window and step.
        augmentations: those of the step; with them, the arrays of a training batch have its `StepDraws` by name.
        leading_blanks: frames of the network at the start of a clip in which the training loss allows no letter.
        hears_the_rest: the samples after a clip's last whole window make one more frame, filled up with zeros.
        cr_ctc: train on two views of each clip, and add so much of their `consistency.difference`; 0 for one view.
        inter_ctc: share of the CTC loss of what the layers write halfway; they are `LayersWithHalfway`.
    """

    def __init__(
        self,
        features: FeatureGeometry,
        *,
        augmentations: Sequence[Augmentation] = (),
        leading_blanks: int = 0,
        hears_the_rest: bool = False,
        cr_ctc: float = 0.0,
        inter_ctc: float = 0.0,
    ):
        self._geometry, self._augmentations, self._leading_blanks = features, tuple(augmentations), leading_blanks
        self._hears_the_rest, self._cr_ctc, self._inter_ctc = hears_the_rest, cr_ctc, inter_ctc

    def features(self, arrays: Tensors, *, view: int = 0) -> tuple[Any, Any]:
        """Features float32 [batch, frames, depth], augmented in training, and their lengths int32 [batch].

        Args:
            view: number of the view, by which augmentations differ.
        """
        augmenter = None
        if self._augmentations and "keys" in arrays:
            draws = StepDraws(*(arrays[name] for name in StepDraws._fields))
            augmenter = StepAugmenter(self._augmentations, self._geometry, draws, view=view)
        num_samples = arrays["num_samples"]
        if self._hears_the_rest:  # the audio of a batch has zeros past the end of each clip
            step, window = self._geometry.step_samples, self._geometry.window_samples
            num_samples = window + step * ops.where(num_samples < window, 0, 1 + (num_samples - window) // step)
        return mfcc(arrays["audio"], num_samples, self._geometry, augmenter=augmenter)

    def outputs(self, layers: Layers, arrays: Tensors, *, clip_keys: Any = None) -> Tensors:
        features, num_frames = self.features(arrays)
        views = 1
        if clip_keys is not None and self._cr_ctc:  # one batch of both: as views do not move time, lengths are equal
            views = 2
            features = ops.concatenate([features, self.features(arrays, view=1)[0]])
            num_frames = ops.concatenate([num_frames, num_frames])
            clip_keys = ops.concatenate([clip_keys, layer_keys(clip_keys, OF_VIEWS)])
        features = ops.stop_gradient(features)
        if clip_keys is None or not self._inter_ctc:
            logits, lengths = layers(features, num_frames, clip_keys=clip_keys)
            outputs = {"logits": logits}
        else:
            assert isinstance(layers, LayersWithHalfway), "the flag is refused with others"
            logits, lengths, halfway = layers.with_halfway(features, num_frames, clip_keys=clip_keys)
            outputs = {"logits": logits, "halfway": halfway}
        if views == 2:
            pairs = {name: ops.split(tensor, 2) for name, tensor in outputs.items()}
            outputs = {name: first for name, (first, _) in pairs.items()}
            outputs |= {f"other_{name}": second for name, (_, second) in pairs.items()}
            lengths = ops.split(lengths, 2)[0]
        return {**outputs, "lengths": lengths}

    def losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        return kernels.ctc_loss(outputs["logits"], outputs["lengths"], arrays["labels"], arrays["num_labels"])

    def training_losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        """CTC, of both views the mean; with shares of that of the layers halfway, and of the views' difference."""

        def ctc(name: str) -> Any:
            loss = self._training_ctc(kernels, outputs, arrays, name)
            if self._cr_ctc:
                loss = 0.5 * (loss + self._training_ctc(kernels, outputs, arrays, f"other_{name}"))
            return loss

        loss = ctc("logits")
        if self._inter_ctc:
            loss = (1.0 - self._inter_ctc) * loss + self._inter_ctc * ctc("halfway")
        if self._cr_ctc:
            loss = loss + self._cr_ctc * difference(outputs["logits"], outputs["other_logits"], outputs["lengths"])
        return loss

    def _training_ctc(self, kernels: Kernels, outputs: Tensors, arrays: Tensors, name: str) -> Any:
        """The CTC loss of some logits, with blanks first where that is asked for."""
        logits = outputs[name]
        if not self._leading_blanks:
            return self.losses(kernels, {**outputs, "logits": logits}, arrays)
        logits, cost = leading_blanks(
            logits, outputs["lengths"], arrays["labels"], arrays["num_labels"], most=self._leading_blanks
        )
        return cost + self.losses(kernels, {**outputs, "logits": logits}, arrays)

    def answers(self, outputs: Tensors) -> Tensors:
        return {"log_probs": ops.log_softmax(outputs["logits"]), "lengths": outputs["lengths"]}
