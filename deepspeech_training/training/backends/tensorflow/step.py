"""What must be TensorFlow's own: the kernels of recurrence and CTC, the Adam update, and the compiled steps.

The one file of the package that names TensorFlow. `cli` sets threads, devices and log level before it is imported.
Tensors of the network are time-major, [frames, batch, depth]; a batch comes from the loader clip-major, [batch, ...].
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import keras
import numpy as np
import tensorflow as tf

from deepspeech_training.augment.augmenter import DRAWS
from deepspeech_training.data.loader import Batch
from deepspeech_training.errors import OutOfMemory
from deepspeech_training.models.deepspeech.geometry import layer_of
from deepspeech_training.models.deepspeech.normalisation import Normalisation
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.tasks.base import Task

tf.autograph.set_verbosity(0)


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

    def dense(self, inputs, weights, bias):
        """`inputs @ weights + bias`, [frames, batch, in] -> [frames, batch, out] in the compute type."""
        weights = tf.convert_to_tensor(weights)
        flat = tf.reshape(tf.cast(inputs, self.compute_dtype), [-1, weights.shape[0]])
        product = tf.matmul(flat, tf.cast(weights, self.compute_dtype))
        outputs = tf.nn.bias_add(product, tf.cast(tf.convert_to_tensor(bias), self.compute_dtype))
        return tf.reshape(outputs, [tf.shape(inputs)[0], tf.shape(inputs)[1], weights.shape[1]])

    def lstm(self, inputs, kernel, bias):
        """An LSTM over [frames, batch, depth]; see `PlainKernels.lstm` for arguments and layout."""
        kernel, bias = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
        if self.cudnn:
            return _lstm_cudnn(inputs, kernel, bias)
        return _lstm_hoisted(tf.cast(inputs, self.compute_dtype), kernel, bias, self.compute_dtype)

    def ctc_loss(self, logits, num_frames, labels, num_labels):
        """CTC loss per clip, float32 [batch]; see `PlainKernels.ctc_loss`."""
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


def _lstm_cudnn(inputs, kernel, bias):
    """cuDNN's LSTM on the canonical weights. Right padding needs no lengths: later frames change no earlier output."""
    depth, units = inputs.shape[-1], bias.shape[0] // 4

    def in_cudnn_order(matrix, axis):  # i, j, f, o -> i, f, j, o
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


def _lstm_hoisted(inputs, kernel, bias, compute_dtype):
    """LSTM with the input product hoisted out of the loop and a gradient of its own.

    The loop holds only what depends on the previous frame. The backward loop carries dz alone: every factor that the
    forward pass fixes is computed for all frames at once beforehand, and the weight gradients are one product each
    afterwards (Appleyard et al. 2016, arXiv:1604.01946). Inside, the gates lie i, f, o, j: one sigmoid, one tanh.
    The recurrent matrix is laid out once per step for the product that is fastest: float32 [in, out], bfloat16
    transposed (measured: `benchmarks/train_throughput.py`; the other way costs up to five times as much).
    """
    units = bias.shape[0] // 4
    transpose_recurrent = compute_dtype != tf.float32

    def to_inner(weights):
        i, j, f, o = tf.split(weights, 4, axis=-1)
        return tf.concat([i, f, o, j], axis=-1)

    def to_canonical(weights):
        i, f, o, j = tf.split(weights, 4, axis=-1)
        return tf.concat([i, j, f, o], axis=-1)

    @tf.custom_gradient
    def run(inputs, kernel, bias):
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

        def product(left, weights):
            result = tf.matmul(tf.cast(left, compute_dtype), weights, transpose_b=transpose_recurrent)
            return tf.cast(result, tf.float32)

        def record():
            return tf.TensorArray(tf.float32, size=frames)

        def forward(frame, output, cell, gate_log, cell_log, output_log):
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

        def gradient(d_outputs):
            i, f, o, j = tf.split(gates, 4, axis=2)
            tanh_cells = tf.tanh(cells)
            previous_cells = tf.concat([zeros[None], cells[:-1]], axis=0)
            previous_outputs = tf.concat([zeros[None], outputs[:-1]], axis=0)
            cell_factor = o * (1.0 - tanh_cells * tanh_cells)
            gate_factor = tf.concat(
                [j * i * (1.0 - i), previous_cells * f * (1.0 - f), tanh_cells * o * (1.0 - o), i * (1.0 - j * j)],
                axis=2,
            )

            def backward(frame, d_output, d_cell, dz_log):
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


class Backend:
    """A model, its Adam moments and the compiled steps on one or several devices of this host.

    Args:
        task: what is trained.
        weights: initial weights by canonical name.
        devices: names such as "GPU:0"; one gives a plain step, several share every batch in equal parts.
        compute_dtype: "float32" or "bfloat16".
        dropout_rates: of layers 1, 2, 3 and 5.
        adam: beta1, beta2, epsilon.
        max_grad_norm: gradients are scaled down to this global norm; 0 leaves them.
        rate_factors: by layer, what its learning rate is multiplied with; 0 freezes it: it has no part in gradient
            and norm, and its weights and moments are not touched. A layer that is not named has 1.
        weight_decay: AdamW's (Loshchilov & Hutter 2019, arXiv:1711.05101), of the matrices.
        ema: decay of the average of the weights, which is then what is evaluated; 0 keeps none.
        normalisation: of the features in training.
        log: receives one line when a faster kernel is refused.
    """

    def __init__(
        self,
        task: Task,
        weights: dict[str, np.ndarray],
        *,
        devices: Sequence[str] = ("CPU:0",),
        compute_dtype: str = "float32",
        dropout_rates: Sequence[float] = (0, 0, 0, 0),
        adam: tuple[float, float, float] = (0.9, 0.999, 1e-8),
        max_grad_norm: float = 0.0,
        rate_factors: Mapping[str, float] = MappingProxyType({}),
        weight_decay: float = 0.0,
        ema: float = 0.0,
        normalisation: Normalisation | None = None,
        log: Callable[[str], None] = print,
    ):
        self.task = task
        self.num_devices = len(devices)
        self._adam = adam
        self._dropout_rates = tuple(dropout_rates)
        self._max_grad_norm = max_grad_norm
        self._rate_factors = dict(rate_factors)
        self._weight_decay = weight_decay
        self._ema = ema
        self._normalisation = normalisation
        on_gpu = all(name.startswith("GPU") for name in devices)
        self.kernels = _checked_kernels(compute_dtype, on_gpu=on_gpu, log=log)
        if len(devices) > 1:
            self._strategy = tf.distribute.MirroredStrategy([f"/{name}" for name in devices])
        else:
            self._strategy = tf.distribute.get_strategy()
        with self._strategy.scope(), tf.device(None if len(devices) > 1 else f"/{devices[0]}"):
            self.model = task.build_model(self.kernels, normalisation)
            # What is evaluated: the network of the averages, or the one that is trained.
            self.average = task.build_model(self.kernels, normalisation) if ema else self.model
            self._variables = {name: variable.value for name, variable in self.model.by_name.items()}
            self._moments = {
                name: tuple(tf.Variable(tf.zeros(v.shape), trainable=False, name=f"{name}/{kind}") for kind in "mv")
                for name, v in self._variables.items()
            }
        self._device = None if len(devices) > 1 else f"/{devices[0]}"
        self._set_weights(weights, weights)
        self._train = tf.function(self._train_step, input_signature=self._signature(), reduce_retracing=True)
        self._evaluate = tf.function(self._evaluate_step, input_signature=self._signature()[:4])

    # --- weights and moments, as numpy by canonical name -------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """All arrays of a checkpoint.

        By name the weights to use: averaged where there is an average, with the normalisation folded in. As far as they
        differ, those that are trained are under "trained/NAME", and averages that are not folded under "ema/NAME";
        the mean and deviation of the features under "normalisation/"; Adam's first and second moments under
        "adam_m/NAME" and "adam_v/NAME".
        """
        trained = self.model.named_weights()
        average = self.average.named_weights() if self._ema else trained
        arrays = dict(average)
        if self._normalisation is not None:
            arrays = self._normalisation.fold(average)
        arrays |= {f"trained/{name}": value for name, value in trained.items() if value is not arrays[name]}
        if self._ema:
            arrays |= {f"ema/{name}": value for name, value in average.items() if value is not arrays[name]}
        if self._normalisation is not None:
            arrays |= self._normalisation.as_arrays()
        for kind, place in (("adam_m", 0), ("adam_v", 1)):
            arrays |= {f"{kind}/{name}": pair[place].numpy() for name, pair in self._moments.items()}
        return arrays

    def set_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave: with the same bits, unless an average or the moments are missing there.

        Weights that are there by name alone are taken for trained and averaged ones; missing moments are zeros.
        """
        usable = {name: arrays[name] for name in self._variables}
        if self._normalisation is not None:
            usable = self._normalisation.unfold(usable)
        self._set_weights(
            {name: arrays.get(f"trained/{name}", value) for name, value in usable.items()},
            {name: arrays.get(f"ema/{name}", value) for name, value in usable.items()},
        )
        for name, (first, second) in self._moments.items():
            first.assign(arrays.get(f"adam_m/{name}", np.zeros(first.shape, np.float32)))
            second.assign(arrays.get(f"adam_v/{name}", np.zeros(second.shape, np.float32)))

    @property
    def trains_other_weights(self) -> bool:
        """Whether the weights in training are not those to use: averages, or other features."""
        return bool(self._ema) or self._normalisation is not None

    def _set_weights(self, trained: dict[str, np.ndarray], average: dict[str, np.ndarray]) -> None:
        self.model.set_named_weights(trained)
        if self._ema:
            self.average.set_named_weights(average)

    # --- the compiled steps ------------------------------------------------------------------------------------

    @staticmethod
    def _signature():
        return (
            tf.TensorSpec([None, None], tf.float32, "audio"),
            tf.TensorSpec([None], tf.int32, "num_samples"),
            tf.TensorSpec([None, None], tf.int32, "labels"),
            tf.TensorSpec([None], tf.int32, "num_labels"),
            tf.TensorSpec([None], tf.float32, "clip_weights"),
            tf.TensorSpec([None], tf.uint32, "clip_keys"),
            tf.TensorSpec([5], tf.float32, "scalars"),  # learning rate, beta1 ** t, beta2 ** t, 1 to apply, ema
            tf.TensorSpec([None, DRAWS], tf.float32, "draws"),
        )

    def _shard(self, tensor):
        """This replica's equal part of a clip-major tensor."""
        if self.num_devices == 1:
            return tensor
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        size = tf.shape(tensor)[0] // self.num_devices
        return tensor[replica * size : (replica + 1) * size]

    def _gathered(self, per_replica):
        return tf.concat(self._strategy.experimental_local_results(per_replica), axis=0)

    def _forward(self, model, audio, num_samples, clip_keys=None, draws=None):
        features, num_frames = self.task.features(audio, num_samples, draws)
        features = tf.stop_gradient(features)
        logits = model(features, num_frames, clip_keys=clip_keys, dropout_rates=self._dropout_rates)
        return logits, num_frames

    def _train_step(self, audio, num_samples, labels, num_labels, clip_weights, clip_keys, scalars, draws):
        def replica_step():
            shards = [self._shard(t) for t in (audio, num_samples, labels, num_labels, clip_weights, clip_keys, draws)]
            shard_audio, shard_samples, shard_labels, shard_num_labels, shard_weights, shard_keys, shard_draws = shards
            with tf.GradientTape() as tape:
                logits, num_frames = self._forward(self.model, shard_audio, shard_samples, shard_keys, shard_draws)
                labelled = shard_labels, shard_num_labels
                losses = self.task.training_losses(self.kernels, logits, num_frames, *labelled)
                objective = tf.reduce_sum(losses * shard_weights) / tf.reduce_sum(clip_weights)
            names = [name for name in self._variables if self._rate_factor(name) > 0]
            gradients = tape.gradient(objective, [self._variables[name] for name in names])
            context = tf.distribute.get_replica_context()
            if self.num_devices > 1:
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))
            bad_losses = tf.reduce_sum(tf.cast(~tf.math.is_finite(losses), tf.float32))
            if self.num_devices > 1:
                bad_losses = context.all_reduce(tf.distribute.ReduceOp.SUM, bad_losses)
            good = tf.math.is_finite(norm) & (bad_losses == 0) & (scalars[3] > 0)
            if self._max_grad_norm > 0:
                scale = tf.minimum(1.0, self._max_grad_norm / tf.maximum(norm, 1e-12))
                gradients = [g * scale for g in gradients]
            pairs = {name: (*self._moments[name], g) for name, g in zip(names, gradients, strict=True)}
            context.merge_call(self._apply, args=(pairs, good, scalars))
            return losses, tf.reshape(norm, [1])

        losses, norm = self._strategy.run(replica_step)
        return self._gathered(losses), self._gathered(norm)[0]

    def _apply(self, strategy, pairs, good, scalars):
        """Adam in TF1's form: both bias corrections in the rate, epsilon beside the root of the uncorrected moment."""
        beta1, beta2, epsilon = self._adam

        def update(variable, first, second, gradient, good, rate, average=None):
            def apply():
                if self._weight_decay and len(variable.shape) == 2:
                    variable.assign(variable * (1.0 - rate * self._weight_decay))
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=scalars[1],
                    beta2_power=scalars[2],
                    lr=rate,
                    beta1=beta1,
                    beta2=beta2,
                    epsilon=epsilon,
                    grad=gradient,
                )
                if average is not None:
                    average.assign(average + (1.0 - scalars[4]) * (variable - average))
                return True

            tf.cond(good, apply, lambda: False)

        for name, (first, second, gradient) in pairs.items():
            rate = scalars[0] * self._rate_factor(name)
            average = [self.average.by_name[name].value] if self._ema else []
            args = (first, second, gradient, good, rate, *average)
            strategy.extended.update(self._variables[name], update, args=args, group=False)

    def _rate_factor(self, name: str) -> float:
        return self._rate_factors.get(layer_of(name), 1.0)

    def _evaluate_step(self, audio, num_samples, labels, num_labels):
        def replica_step():
            shards = [self._shard(t) for t in (audio, num_samples, labels, num_labels)]
            logits, num_frames = self._forward(self.average, *shards[:2])
            losses = self.task.losses(self.kernels, logits, num_frames, *shards[2:])
            return losses, tf.transpose(tf.nn.log_softmax(logits), [1, 0, 2]), num_frames

        losses, log_probs, num_frames = self._strategy.run(replica_step)
        if self.num_devices == 1:
            return losses, log_probs, num_frames
        parts = self._strategy.experimental_local_results(log_probs)
        longest = tf.reduce_max([tf.shape(part)[1] for part in parts])
        parts = [tf.pad(part, [[0, 0], [0, longest - tf.shape(part)[1]], [0, 0]]) for part in parts]
        return self._gathered(losses), tf.concat(parts, axis=0), self._gathered(num_frames)

    # --- what the engine calls ---------------------------------------------------------------------------------

    def _padded(self, batch: Batch) -> tuple[list[np.ndarray], int]:
        """The batch's arrays with copies of its first clip, weighing nothing, up to a multiple of the devices."""
        clips = len(batch.samples)
        missing = -clips % self.num_devices
        arrays = [batch.audio, batch.num_samples, batch.labels, batch.num_labels]
        if missing:
            arrays = [np.concatenate([a, np.repeat(a[:1], missing, axis=0)]) for a in arrays]
        return arrays, missing

    def train_step(
        self, batch: Batch, clip_keys: np.ndarray, *, learning_rate: float, updates: int, apply: bool = True
    ) -> tuple[np.ndarray, float]:
        """Run one step and, if every loss and the gradient are finite, update the weights.

        Args:
            batch: from the loader.
            clip_keys: uint32 [batch], see `models.deepspeech.dropout_mask`.
            learning_rate: Adam's.
            updates: how many updates were made before: Adam's t is one more.
            apply: False only computes.
        Returns:
            losses float32 [batch] and the global norm of the gradient. The weights changed if and only if `apply`
            and all of these are finite.
        """
        arrays, missing = self._padded(batch)
        draws = np.zeros((len(batch.samples), DRAWS), np.float32) if batch.draws is None else batch.draws
        draws = np.concatenate([draws, np.repeat(draws[:1], missing, axis=0)])
        clip_weights = np.concatenate([np.ones(len(batch.samples), np.float32), np.zeros(missing, np.float32)])
        clip_keys = np.concatenate([clip_keys, np.repeat(clip_keys[:1], missing)]).astype(np.uint32)
        beta1, beta2, _ = self._adam
        scalars = np.array(
            [
                learning_rate,
                beta1 ** (updates + 1),
                beta2 ** (updates + 1),
                1.0 if apply else 0.0,
                ema_decay(self._ema, updates),
            ],
            np.float32,
        )
        with tf.device(self._device), _out_of_memory_named(batch, "--train_batch_size (or --batch_seconds)"):
            losses, norm = self._train(*arrays, clip_weights, clip_keys, scalars, draws)
        return losses.numpy()[: len(batch.samples)], float(norm)

    def evaluate_step(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses float32 [batch], log probabilities float32 [batch, frames, classes], num_frames int32 [batch]."""
        arrays, _ = self._padded(batch)
        with tf.device(self._device), _out_of_memory_named(batch, "--dev_batch_size or --test_batch_size"):
            results = self._evaluate(*arrays)
        return tuple(r.numpy()[: len(batch.samples)] for r in results)

    def traces(self) -> int:
        """How often the training step was traced: 1 on the CPU, whatever the shapes."""
        return self._train.experimental_get_tracing_count()

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        """Gradient of the mean loss without dropout, by canonical name; for tests, on one device."""
        with tf.GradientTape() as tape:
            logits, num_frames = self._forward(self.model, tf.constant(batch.audio), tf.constant(batch.num_samples))
            labels = tf.constant(batch.labels), tf.constant(batch.num_labels)
            losses = self.task.losses(self.kernels, logits, num_frames, *labels)
            objective = tf.reduce_mean(losses)
        gradients = tape.gradient(objective, list(self._variables.values()))
        return {name: g.numpy() for name, g in zip(self._variables, gradients, strict=True)}


def measure_normalisation(task: Task, batches: Iterable[Batch], *, device: str) -> Normalisation:
    """Mean and deviation of the features over all frames of these batches, as they are without augmentation."""
    compute = tf.function(lambda audio, num_samples: task.features(audio, num_samples), reduce_retracing=True)

    def frames() -> Iterator[np.ndarray]:
        for batch in batches:
            if batch.samples:
                with tf.device(f"/{device}"):
                    features, num_frames = compute(tf.constant(batch.audio), tf.constant(batch.num_samples))
                inside = np.arange(features.shape[1]) < num_frames.numpy()[:, None]
                yield features.numpy()[inside]

    return Normalisation.of(frames())


def ema_decay(decay: float, updates: int) -> float:
    """The decay of one step: less in the first ones, or the average would long be that of the initial weights.

    The rule of tf.train.ExponentialMovingAverage with `num_updates`.

    >>> [round(ema_decay(0.999, updates), 3) for updates in (0, 10, 990, 100_000)]
    [0.1, 0.55, 0.991, 0.999]
    """
    return min(decay, (1 + updates) / (10 + updates))


@contextlib.contextmanager
def _out_of_memory_named(batch: Batch, flag: str) -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemory(
            f"Out of memory in a batch of {len(batch.samples)} clips of up to {int(batch.num_samples.max()):,} samples "
            f"each\nLower {flag}; the same command then goes on from the last checkpoint."
        ) from error


def _checked_kernels(compute_dtype: str, *, on_gpu: bool, log: Callable[[str], None]) -> TensorFlowKernels:
    """The fastest kernels that give the right answer here.

    On a GPU cuDNN's LSTM and CTC are compared with the plain Keras forms, outputs and gradients, on a small random
    batch; one that fails or disagrees is left out, and `log` says so.
    """
    chosen = {"cudnn": False, "sparse_ctc_on_gpu": False}
    if on_gpu:
        for option, method in (("cudnn", "lstm"), ("sparse_ctc_on_gpu", "ctc_loss")):
            if option == "cudnn" and compute_dtype != "float32":
                continue
            trial = TensorFlowKernels(**{option: True})
            try:
                difference = kernel_difference(trial, PlainKernels(), method)
            except (tf.errors.OpError, ValueError) as error:
                log(f"cuDNN's {method} cannot run here ({type(error).__name__}); the slower kernel is used")
                continue
            if difference < 2e-3:
                chosen[option] = True
            else:
                log(f"cuDNN's {method} differs from the reference by {difference:.2g}; the slower kernel is used")
    return TensorFlowKernels(compute_dtype=compute_dtype, **chosen)


def kernel_difference(kernels, reference, method: str) -> float:
    """Greatest difference, in outputs and gradients relative to their largest value, on a small random batch."""
    generator = np.random.Generator(np.random.Philox(key=7))
    frames, clips, depth, units = 50, 4, 24, 16
    if method == "lstm":
        inputs = generator.normal(size=(frames, clips, depth)).astype(np.float32)
        kernel = generator.normal(size=(depth + units, 4 * units), scale=0.3).astype(np.float32)
        bias = generator.normal(size=4 * units, scale=0.3).astype(np.float32)
        arguments, constants = [inputs, kernel, bias], []
    else:
        logits = generator.normal(size=(frames, clips, 8), scale=2.0).astype(np.float32)
        labels = generator.integers(0, 7, size=(clips, 12)).astype(np.int32)
        arguments = [logits]
        constants = [np.array([50, 40, 31, 24], np.int32), labels, np.array([12, 7, 5, 1], np.int32)]

    def run(owner):
        @tf.function
        def compute(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                result = getattr(owner, method)(*tensors, *[tf.constant(c) for c in constants])
                objective = tf.reduce_sum(result * tf.cos(tf.cast(tf.range(tf.size(result)), tf.float32)[0] + result))
            return [result, *tape.gradient(objective, tensors)]

        return [r.numpy().astype(np.float64) for r in compute(*[tf.constant(a) for a in arguments])]

    pairs = zip(run(kernels), run(reference), strict=True)
    return max(float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-6)) for a, b in pairs)


def set_up_threads(*, intra_op: int, inter_op: int, logical_cpus: int, log_placement: bool) -> None:
    """Fix TensorFlow's thread pools and devices; once, before anything is computed."""
    tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
    if logical_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * logical_cpus)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if log_placement:
        tf.debugging.set_log_device_placement(True)


def list_devices() -> list[tuple[str, str]]:
    """Devices to train on, best first: (name, description). GPUs if there are any, else the logical CPUs."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        found = []
        for logical, physical in zip(gpus, tf.config.list_physical_devices("GPU"), strict=True):
            details = tf.config.experimental.get_device_details(physical)
            capability = ".".join(str(part) for part in details.get("compute_capability", ()))
            found.append((logical.name.removeprefix("/device:"), f"{details.get('device_name')} ({capability})"))
        return found
    return [(cpu.name.removeprefix("/device:"), "CPU") for cpu in tf.config.list_logical_devices("CPU")]


def gpu_has_bfloat16() -> bool:
    """Whether every visible GPU computes bfloat16 itself (compute capability 8.0 or newer)."""
    details = [tf.config.experimental.get_device_details(g) for g in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def cuda_build() -> dict[str, object]:
    """What TensorFlow was built with: "cuda" and "cudnn" (versions, "" without), "capabilities" (as "sm_80")."""
    built = tf.sysconfig.get_build_info()
    return {
        "cuda": str(built.get("cuda_version", "")),
        "cudnn": str(built.get("cudnn_version", "")),
        "capabilities": list(built.get("cuda_compute_capabilities", ())),
    }


def small_product(device: str, size: int = 512) -> bool:
    """Multiply two matrices of small whole numbers on a device ("GPU:0"); whether every sum is right."""
    rows, columns = np.indices((size, size))
    left, right = (rows + columns) % 7, (rows * columns) % 5
    with tf.device(device):
        product = tf.matmul(tf.constant(left, tf.float32), tf.constant(right, tf.float32)).numpy()
    return bool((product == left @ right).all())
