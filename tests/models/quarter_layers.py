"""The network of `quarter`, in Keras."""

from keras import ops
from models.quarter import FADES, STRIDE

from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.layers import NamedLayers


class QuarterLayers(NamedLayers):
    def __init__(self, network, kernels, weights, normalisation):
        super().__init__("quarter", network.weight_shapes(), weights)
        self.network, self.normalisation = network, normalisation
        self.kernels = kernels or PlainKernels()

    def _dense(self, name, inputs):
        outputs = self.kernels.dense(inputs, self.by_name[f"{name}/weights"], self.by_name[f"{name}/bias"])
        return ops.cast(outputs, "float32")

    def call(self, features, lengths, clip_keys=None):
        n = self.network.n_hidden
        batch, frames, _ = ops.shape(features)
        outputs = self.network.output_lengths(frames)
        padded = ops.pad(features, [[0, 0], [1, 1 + outputs * STRIDE - frames], [0, 0]])
        if self.normalisation is not None:
            padded = (padded - self.normalisation.mean) / self.normalisation.deviation
        windows = ops.concatenate([padded[:, i : i + outputs * STRIDE] for i in range(3)], axis=-1)
        front = ops.relu(self._dense("front", windows))
        joined = ops.tanh(self._dense("join", ops.reshape(front, (batch, outputs, STRIDE * n))))
        ages = ops.cast(ops.arange(outputs)[:, None] - ops.arange(outputs)[None, :], "float32")
        fading = ops.where(ages >= 0, ops.power(FADES, ops.maximum(ages, 0.0)), 0.0)
        memory = ops.einsum("ts,bsn->btn", fading, joined)
        delay = ops.pad(joined, [[0, 0], [1, 0], [0, 0]])[:, :-1]
        return self._dense("output", ops.concatenate([memory, delay], axis=-1)), self.network.output_lengths(lengths)
