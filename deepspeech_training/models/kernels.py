"""The operations whose fastest form depends on the backend, in plain Keras 3: the reference and the fallback.

A backend has its own forms with the same signatures (`training.backends`). The weights look the same to both.
"""

from keras import ops


class PlainKernels:
    """Recurrence, matrix product and CTC written with keras.ops alone, in float32."""

    def dense(self, inputs, weights, bias):
        """`inputs @ weights + bias`: [frames, batch, in] x [in, out] -> float32 [frames, batch, out]."""
        return ops.matmul(inputs, weights) + bias

    def lstm(self, inputs, kernel, bias):
        """Run an LSTM from a zero state, without peepholes, clipping or forget bias (TF1's LSTMBlockFusedCell so set).

        Args:
            inputs: float32 [frames, batch, depth].
            kernel: float32 [depth + units, 4 * units]; rows: inputs, then the previous output; column blocks
                i, j (candidate), f, o.
            bias: float32 [4 * units].
        Returns:
            float32 [frames, batch, units].
        """
        depth, units = inputs.shape[-1], bias.shape[0] // 4
        from_inputs = ops.matmul(inputs, kernel[:depth]) + bias
        recurrent = kernel[depth:]
        zeros = ops.zeros_like(from_inputs[0, :, :units])

        def step(state, from_input):
            cell, output = state
            i, j, f, o = ops.split(from_input + ops.matmul(output, recurrent), 4, axis=-1)
            cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(j)
            output = ops.sigmoid(o) * ops.tanh(cell)
            return (cell, output), (cell, output)  # Keras's scan on TensorFlow wants outputs shaped like the state

        _, (_, outputs) = ops.scan(step, (zeros, zeros), from_inputs)
        return outputs

    def ctc_loss(self, logits, num_frames, labels, num_labels):
        """Connectionist temporal classification loss, the blank last (Graves et al. 2006).

        Args:
            logits: float32 [batch, frames, classes].
            num_frames: int32 [batch].
            labels: int32 [batch, labels], padded with anything.
            num_labels: int32 [batch].
        Returns:
            float32 [batch]: one loss per clip, so that a bad one can be named.
        """
        blank = logits.shape[-1] - 1
        return ops.ctc_loss(labels, logits, num_labels, num_frames, mask_index=blank)
