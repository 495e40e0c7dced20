"""TensorFlow's kernels of dense layers, LSTM and CTC, and the choice of those that give the right answer here.

Tensors of the network are time-major, [frames, batch, depth].
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from deepspeech_training.models.base import Kernels
from deepspeech_training.models.kernels import PlainKernels


class TensorFlowKernels:
    """TensorFlow's forms of the kernels: same arguments, same weights, same results as `PlainKernels`.

    Args:
        compute_dtype: "float32" or "bfloat16"; matrix products are computed in it. Weights, cell state, gates and
            everything after the logits stay float32.
        cudnn: run the recurrence with cuDNN's kernel (float32, on a GPU).
        sparse_ctc_on_gpu: use tf.nn.ctc_loss, which takes cuDNN's kernel where it can; otherwise the CPU's kernel.
    """

    def __init__(self, *, compute_dtype: str = "float32", cudnn: bool = False, sparse_ctc_on_gpu: bool = False):
        self.compute_dtype = tf.dtypes.as_dtype(compute_dtype)
        self.cudnn = cudnn and compute_dtype == "float32"
        self.sparse_ctc_on_gpu = sparse_ctc_on_gpu

    def dense(self, inputs: Any, weights: Any, bias: Any) -> Any:
        """`inputs @ weights + bias`, [frames, batch, in] -> [frames, batch, out] in the compute type."""
        weights = tf.convert_to_tensor(weights)
        flat = tf.reshape(tf.cast(inputs, self.compute_dtype), [-1, weights.shape[0]])
        product = tf.matmul(flat, tf.cast(weights, self.compute_dtype))
        outputs = tf.nn.bias_add(product, tf.cast(tf.convert_to_tensor(bias), self.compute_dtype))
        return tf.reshape(outputs, [tf.shape(inputs)[0], tf.shape(inputs)[1], weights.shape[1]])

    def lstm(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        """An LSTM over [frames, batch, depth]; see `PlainKernels.lstm` for arguments and layout."""
        kernel, bias = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
        if self.cudnn:
            return _lstm_cudnn(inputs, kernel, bias)
        return _lstm_hoisted(tf.cast(inputs, self.compute_dtype), kernel, bias, self.compute_dtype)

    def ctc_loss(self, logits: Any, num_frames: Any, labels: Any, num_labels: Any) -> Any:
        """CTC loss per clip, float32 [batch]; see `PlainKernels.ctc_loss`."""
        logits = tf.transpose(logits, [1, 0, 2])  # both operators are faster time-major
        present = tf.sequence_mask(num_labels, tf.shape(labels)[1])
        indices = tf.where(present)
        values = tf.cast(tf.boolean_mask(labels, present), tf.int32)
        if self.sparse_ctc_on_gpu:
            shape = tf.cast(tf.shape(labels), tf.int64)
            return tf.nn.ctc_loss(
                tf.SparseTensor(indices, values, shape),
                logits,
                None,
                num_frames,
                logits_time_major=True,
                blank_index=-1,
            )
        # The loader has refused every clip with fewer frames than CTC needs; this only keeps the operator from
        # ending the whole step if one ever arrives.
        return tf.raw_ops.CTCLoss(
            inputs=logits,
            labels_indices=indices,
            labels_values=values,
            sequence_length=num_frames,
            preprocess_collapse_repeated=False,
            ctc_merge_repeated=True,
            ignore_longer_outputs_than_inputs=True,
        )[0]


def _lstm_cudnn(inputs: Any, kernel: Any, bias: Any) -> Any:
    """cuDNN's LSTM on the canonical weights. Right padding needs no lengths: later frames change no earlier output."""
    depth, units = inputs.shape[-1], bias.shape[0] // 4

    def in_cudnn_order(matrix: Any, axis: int) -> list[Any]:  # i, j, f, o -> i, f, j, o
        i, j, f, o = tf.split(matrix, 4, axis=axis)
        return [i, f, j, o]

    matrices = in_cudnn_order(kernel[:depth], 1) + in_cudnn_order(kernel[depth:], 1)
    biases = in_cudnn_order(bias, 0) + [tf.zeros([units])] * 4  # cuDNN adds a second, recurrent bias
    params = tf.concat([tf.reshape(tf.transpose(m), [-1]) for m in matrices] + biases, axis=0)
    state = tf.zeros([1, tf.shape(inputs)[1], units])
    outputs = tf.raw_ops.CudnnRNN(
        input=inputs, input_h=state, input_c=state, params=params, rnn_mode="lstm", is_training=True
    )[0]
    return tf.ensure_shape(outputs, [None, None, units])


def _lstm_hoisted(inputs: Any, kernel: Any, bias: Any, compute_dtype: tf.DType) -> Any:
    """LSTM with the input product hoisted out of the loop and a gradient of its own.

    The loop holds only what depends on the previous frame. The backward loop carries dz alone: every factor that the
    forward pass fixes is computed for all frames at once beforehand, and the weight gradients are one product each
    afterwards (Appleyard et al. 2016, arXiv:1604.01946). Inside, the gates lie i, f, o, j: one sigmoid, one tanh.
    The recurrent matrix is laid out once per step for the product that is fastest: float32 [in, out], bfloat16
    transposed (measured: `benchmarks/train_throughput.py`; the other way costs up to five times as much).
    """
    units = bias.shape[0] // 4
    transpose_recurrent = compute_dtype != tf.float32

    def to_inner(weights: Any) -> Any:
        i, j, f, o = tf.split(weights, 4, axis=-1)
        return tf.concat([i, f, o, j], axis=-1)

    def to_canonical(weights: Any) -> Any:
        i, f, o, j = tf.split(weights, 4, axis=-1)
        return tf.concat([i, j, f, o], axis=-1)

    @tf.custom_gradient
    def run(inputs: Any, kernel: Any, bias: Any) -> Any:
        depth = inputs.shape[-1]
        frames, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
        inner = tf.cast(to_inner(kernel), compute_dtype)
        input_weights, recurrent = inner[:depth], inner[depth:]
        flat_inputs = tf.reshape(inputs, [-1, depth])
        from_inputs = tf.cast(tf.matmul(flat_inputs, input_weights), tf.float32) + to_inner(bias)
        from_inputs = tf.reshape(from_inputs, [frames, batch, 4 * units])
        zeros = tf.zeros([batch, units])
        recurrent_transposed = tf.transpose(recurrent)
        forward_weights = recurrent_transposed if transpose_recurrent else recurrent
        backward_weights = recurrent if transpose_recurrent else recurrent_transposed

        def product(left: Any, weights: Any) -> Any:
            result = tf.matmul(tf.cast(left, compute_dtype), weights, transpose_b=transpose_recurrent)
            return tf.cast(result, tf.float32)

        def record() -> tf.TensorArray:
            return tf.TensorArray(tf.float32, size=frames)

        def forward(
            frame: Any, output: Any, cell: Any, gate_log: Any, cell_log: Any, output_log: Any
        ) -> tuple[Any, ...]:
            z = from_inputs[frame] + product(output, forward_weights)
            sigmoids = tf.sigmoid(z[:, : 3 * units])
            candidate = tf.tanh(z[:, 3 * units :])
            i, f, o = tf.split(sigmoids, 3, axis=1)
            cell = f * cell + i * candidate
            output = o * tf.tanh(cell)
            gates = tf.concat([sigmoids, candidate], axis=1)
            return (
                frame + 1,
                output,
                cell,
                gate_log.write(frame, gates),
                cell_log.write(frame, cell),
                output_log.write(frame, output),
            )

        *_, gate_log, cell_log, output_log = tf.while_loop(
            lambda frame, *_: frame < frames,
            forward,
            (0, zeros, zeros, record(), record(), record()),
            parallel_iterations=1,
        )
        gates, cells = gate_log.stack(), cell_log.stack()
        outputs = tf.ensure_shape(output_log.stack(), [None, None, units])

        def gradient(d_outputs: Any) -> tuple[Any, Any, Any]:
            i, f, o, j = tf.split(gates, 4, axis=2)
            tanh_cells = tf.tanh(cells)
            previous_cells = tf.concat([zeros[None], cells[:-1]], axis=0)
            previous_outputs = tf.concat([zeros[None], outputs[:-1]], axis=0)
            cell_factor = o * (1.0 - tanh_cells * tanh_cells)
            gate_factor = tf.concat(
                [j * i * (1.0 - i), previous_cells * f * (1.0 - f), tanh_cells * o * (1.0 - o), i * (1.0 - j * j)],
                axis=2,
            )

            def backward(frame: Any, d_output: Any, d_cell: Any, dz_log: Any) -> tuple[Any, ...]:
                d_output = d_output + d_outputs[frame]
                d_cell = d_cell + d_output * cell_factor[frame]
                dz = tf.concat([d_cell, d_cell, d_output, d_cell], axis=1) * gate_factor[frame]
                return frame - 1, product(dz, backward_weights), d_cell * f[frame], dz_log.write(frame, dz)

            *_, dz_log = tf.while_loop(
                lambda frame, *_: frame >= 0, backward, (frames - 1, zeros, zeros, record()), parallel_iterations=1
            )
            dz = tf.reshape(dz_log.stack(), [-1, 4 * units])
            low = tf.cast(dz, compute_dtype)
            d_input_weights = tf.matmul(flat_inputs, low, transpose_a=True)
            flat_previous = tf.cast(tf.reshape(previous_outputs, [-1, units]), compute_dtype)
            d_recurrent = tf.matmul(flat_previous, low, transpose_a=True)
            d_kernel = tf.cast(tf.concat([d_input_weights, d_recurrent], axis=0), tf.float32)
            d_inputs = tf.reshape(tf.matmul(low, input_weights, transpose_b=True), tf.shape(inputs))
            return d_inputs, to_canonical(d_kernel), to_canonical(tf.reduce_sum(dz, axis=0))

        return outputs, gradient

    return run(inputs, kernel, bias)


def checked_kernels(compute_dtype: str, *, on_gpu: bool, log: Callable[[str], None]) -> TensorFlowKernels:
    """The fastest kernels that give the right answer here.

    On a GPU cuDNN's LSTM and CTC are compared with the plain Keras forms, outputs and gradients, on a small random
    batch; one that fails or disagrees is left out, and `log` says so.
    """
    chosen = {"cudnn": False, "sparse_ctc_on_gpu": False}
    if on_gpu:
        for option, method in (("cudnn", "lstm"), ("sparse_ctc_on_gpu", "ctc_loss")):
            if option == "cudnn" and compute_dtype != "float32":
                continue
            trial = TensorFlowKernels(cudnn=option == "cudnn", sparse_ctc_on_gpu=option == "sparse_ctc_on_gpu")
            try:
                difference = kernel_difference(trial, PlainKernels(), method)
            except (tf.errors.OpError, ValueError) as error:
                log(f"cuDNN's {method} cannot run here ({type(error).__name__}); the slower kernel is used")
                continue
            if difference < 2e-3:
                chosen[option] = True
            else:
                log(f"cuDNN's {method} differs from the reference by {difference:.2g}; the slower kernel is used")
    return TensorFlowKernels(
        compute_dtype=compute_dtype, cudnn=chosen["cudnn"], sparse_ctc_on_gpu=chosen["sparse_ctc_on_gpu"]
    )


def kernel_difference(kernels: Kernels, reference: Kernels, method: str) -> float:
    """Greatest difference, in outputs and gradients relative to their largest value, on a small random batch."""
    generator = np.random.Generator(np.random.Philox(key=7))
    frames, clips, depth, units = 50, 4, 24, 16
    if method == "lstm":
        inputs = generator.normal(size=(frames, clips, depth)).astype(np.float32)
        kernel = generator.normal(size=(depth + units, 4 * units), scale=0.3).astype(np.float32)
        bias = generator.normal(size=4 * units, scale=0.3).astype(np.float32)
        arguments, constants = [inputs, kernel, bias], []
    else:
        logits = generator.normal(size=(clips, frames, 8), scale=2.0).astype(np.float32)
        labels = generator.integers(0, 7, size=(clips, 12)).astype(np.int32)
        arguments = [logits]
        constants = [np.array([50, 40, 31, 24], np.int32), labels, np.array([12, 7, 5, 1], np.int32)]

    def run(owner: Kernels) -> list[np.ndarray]:
        @tf.function
        def compute(*tensors: Any) -> list[Any]:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                result = getattr(owner, method)(*tensors, *[tf.constant(c) for c in constants])
                objective = tf.reduce_sum(result * tf.cos(tf.cast(tf.range(tf.size(result)), tf.float32)[0] + result))
            return [result, *tape.gradient(objective, tensors)]

        return [r.numpy().astype(np.float64) for r in compute(*[tf.constant(a) for a in arguments])]

    pairs = zip(run(kernels), run(reference), strict=True)
    return max(float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-6)) for a, b in pairs)
