"""What is computed in the step: a word and the symbols before each -> logits -> cross-entropy, or greedy answers."""

from typing import Any

from keras import ops

from deepspeech_training.models.base import Kernels, Layers
from deepspeech_training.models.word_layers import WordLayers
from deepspeech_training.models.word_model import most_symbols
from deepspeech_training.tasks.base import Tensors


class WordObjective:
    """See `tasks.base.Objective`.

    Args:
        label_smoothing: share of what is wanted that is spread over all symbols, in training alone.
    """

    def __init__(self, *, label_smoothing: float = 0.0):
        self._smoothing = label_smoothing

    def outputs(self, layers: Layers, arrays: Tensors, *, clip_keys: Any = None) -> Tensors:
        assert isinstance(layers, WordLayers), "the task has no other networks"
        given, lengths, wanted = arrays["given"], arrays["num_given"], arrays["wanted"]
        previous = ops.pad(wanted, [[0, 0], [1, 0]])[:, :-1]
        inputs = {"given": given, "previous": previous}
        logits, _ = layers(inputs, lengths, clip_keys=clip_keys)
        outputs = {"logits": logits}
        if clip_keys is None:  # not in training
            outputs["symbols"] = layers.greedy(given, lengths, steps=most_symbols(ops.shape(given)[1]))
        return outputs

    def losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        """Minus the logarithm of the probability of what is wanted, its end included.

        Symbols that the training data did not have cost nothing, as they can never be written.
        """
        return self._losses(outputs["logits"], arrays, smoothing=0.0)

    def training_losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        return self._losses(outputs["logits"], arrays, smoothing=self._smoothing)

    def _losses(self, logits: Any, arrays: Tensors, *, smoothing: float) -> Any:
        """Cross-entropy, with label smoothing (Szegedy et al. 2016, arXiv:1512.00567)."""
        wanted, log_probs = arrays["wanted"], ops.log_softmax(logits, axis=-1)
        classes = logits.shape[-1]
        chosen = ops.sum(log_probs * ops.one_hot(wanted, classes, dtype="float32"), axis=-1)
        each = -(1.0 - smoothing) * chosen - smoothing * ops.mean(log_probs, axis=-1)
        steps = ops.arange(ops.shape(wanted)[1], dtype="int32")
        counts = ops.logical_and(steps[None, :] < arrays["num_wanted"][:, None], wanted < classes)
        return ops.sum(ops.where(counts, each, ops.zeros_like(each)), axis=-1)

    def answers(self, outputs: Tensors) -> Tensors:
        return {"symbols": outputs["symbols"]}
