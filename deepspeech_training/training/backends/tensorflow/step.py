"""TensorFlow's compiled steps: gradients, Adam, the average of the weights, on one device or several."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deepspeech_training.data.loader import Batch
from deepspeech_training.errors import OutOfMemory
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, group_of
from deepspeech_training.tasks.base import Task, Tensors
from deepspeech_training.training.backends.base import Update, UpdateRules
from deepspeech_training.training.backends.tensorflow.kernels import checked_kernels

tf.autograph.set_verbosity(0)


class TensorFlowBackend:
    """A model in training, see `backends.base.Backend`; arguments as for `Library.backend`."""

    def __init__(
        self,
        task: Task,
        weights: Mapping[str, np.ndarray],
        *,
        devices: Sequence[str],
        compute_dtype: str,
        rules: UpdateRules,
        training_options: Mapping[str, Any],
        normalisation: Normalisation | None,
        log: Callable[[str], None],
    ):
        self.task, self._objective = task, task.objective()
        self.num_devices = len(devices)
        self._rules = rules
        self._normalisation = normalisation
        on_gpu = all(name.startswith("GPU") for name in devices)
        self.kernels = checked_kernels(compute_dtype, on_gpu=on_gpu, log=log)
        if len(devices) > 1:
            self._strategy = tf.distribute.MirroredStrategy([f"/{name}" for name in devices])
        else:
            self._strategy = tf.distribute.get_strategy()
        self._device = None if len(devices) > 1 else f"/{devices[0]}"
        with self._strategy.scope(), tf.device(self._device):
            self.model = task.network.build(self.kernels, normalisation=normalisation, **training_options)
            # What is evaluated: the network of the averages, or the one that is trained.
            self.average = self.model
            if rules.ema:
                self.average = task.network.build(self.kernels, normalisation=normalisation)
            self._variables = {name: variable.value for name, variable in self.model.by_name.items()}
            self._moments = {
                name: tuple(tf.Variable(tf.zeros(v.shape), trainable=False, name=f"{name}/{kind}") for kind in "mv")
                for name, v in self._variables.items()
            }
        self.set_weights(weights)
        one_each = tf.TensorSpec([None], tf.float32)
        keys, number = tf.TensorSpec([None], tf.uint32), tf.TensorSpec([], tf.float32)
        update = Update(number, number, number, number, apply=tf.TensorSpec([], tf.bool))
        self._train = tf.function(
            self._train_step, input_signature=[self._arrays(training=True), one_each, keys, update]
        )
        self._evaluate = tf.function(self._evaluate_step, input_signature=[self._arrays(training=False)])

    # --- weights and moments, as numpy by canonical name -------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        trained = self.model.named_weights()
        average = self.average.named_weights() if self._rules.ema else trained
        arrays = dict(average)
        if self._normalisation is not None:
            arrays = self._hearing.fold(average, self._normalisation)
        arrays |= {f"trained/{name}": value for name, value in trained.items() if value is not arrays[name]}
        if self._rules.ema:
            arrays |= {f"ema/{name}": value for name, value in average.items() if value is not arrays[name]}
        if self._normalisation is not None:
            arrays |= self._normalisation.as_arrays()
        for kind, place in (("adam_m", 0), ("adam_v", 1)):
            arrays |= {f"{kind}/{name}": pair[place].numpy() for name, pair in self._moments.items()}
        return arrays

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        usable = {name: arrays[name] for name in self._variables}
        if self._normalisation is not None:
            usable = self._hearing.unfold(usable, self._normalisation)
        self.model.set_named_weights({name: arrays.get(f"trained/{name}", value) for name, value in usable.items()})
        if self._rules.ema:
            self.average.set_named_weights({name: arrays.get(f"ema/{name}", value) for name, value in usable.items()})
        for name, (first, second) in self._moments.items():
            first.assign(arrays.get(f"adam_m/{name}", np.zeros(first.shape, np.float32)))
            second.assign(arrays.get(f"adam_v/{name}", np.zeros(second.shape, np.float32)))

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        self.model.set_named_weights(weights)
        if self._rules.ema:
            self.average.set_named_weights(weights)

    @property
    def num_parameters(self) -> int:
        return self.task.network.num_parameters

    @property
    def trains_other_weights(self) -> bool:
        return bool(self._rules.ema) or self._normalisation is not None

    @property
    def _hearing(self) -> AcousticModel:
        """The network, where its features are normalised."""
        assert isinstance(self.task.network, AcousticModel)
        return self.task.network

    # --- the compiled steps ------------------------------------------------------------------------------------

    def _arrays(self, *, training: bool) -> dict[str, tf.TensorSpec]:
        """The signature of a batch's arrays."""
        return {
            name: tf.TensorSpec([None, *array.shape], array.dtype, name)
            for name, array in self.task.spec.of_batch(training=training).items()
        }

    def _shard(self, tensors: Any) -> Any:
        """This replica's equal part of tensors whose first axis is the batch."""
        if self.num_devices == 1:
            return tensors
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group

        def part(tensor: Any) -> Any:
            size = tf.shape(tensor)[0] // self.num_devices
            return tensor[replica * size : (replica + 1) * size]

        return tf.nest.map_structure(part, tensors)

    def _gathered(self, per_replica: Any) -> Any:
        """The parts of all replicas; where axis 1 differs between them, zeros are added."""
        if self.num_devices == 1:
            return per_replica
        parts = self._strategy.experimental_local_results(per_replica)
        if len(parts[0].shape) > 1:
            longest = tf.reduce_max([tf.shape(part)[1] for part in parts])
            rest = [[0, 0]] * (len(parts[0].shape) - 2)
            parts = [tf.pad(part, [[0, 0], [0, longest - tf.shape(part)[1]], *rest]) for part in parts]
        return tf.concat(parts, axis=0)

    def _train_step(self, arrays: Tensors, sample_weights: Any, clip_keys: Any, update: Update) -> tuple[Any, Any]:
        def replica_step() -> tuple[Any, Any]:
            shard, weights, keys = self._shard((arrays, sample_weights, clip_keys))
            with tf.GradientTape() as tape:
                outputs = self._objective.outputs(self.model, shard, clip_keys=keys)
                losses = self._objective.training_losses(self.kernels, outputs, shard)
                objective = tf.reduce_sum(losses * weights) / tf.reduce_sum(sample_weights)
            names = [name for name in self._variables if self._rate_factor(name) > 0]
            gradients = tape.gradient(objective, [self._variables[name] for name in names])
            context = tf.distribute.get_replica_context()
            if self.num_devices > 1:
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))
            bad_losses = tf.reduce_sum(tf.cast(~tf.math.is_finite(losses), tf.float32))
            if self.num_devices > 1:
                bad_losses = context.all_reduce(tf.distribute.ReduceOp.SUM, bad_losses)
            good = tf.math.is_finite(norm) & (bad_losses == 0) & update.apply
            if self._rules.max_grad_norm > 0:
                scale = tf.minimum(1.0, self._rules.max_grad_norm / tf.maximum(norm, 1e-12))
                gradients = [g * scale for g in gradients]
            pairs = {name: (*self._moments[name], g) for name, g in zip(names, gradients, strict=True)}
            context.merge_call(self._apply, args=(pairs, good, update))
            return losses, tf.reshape(norm, [1])

        losses, norm = self._strategy.run(replica_step)
        return self._gathered(losses), self._gathered(norm)[0]

    def _apply(self, strategy: Any, pairs: dict[str, tuple[Any, Any, Any]], good: Any, update: Update) -> None:
        """Adam in TF1's form: both bias corrections in the rate, epsilon beside the root of the uncorrected moment."""
        rules = self._rules

        def change(
            variable: Any, first: Any, second: Any, gradient: Any, good: Any, rate: Any, average: Any = None
        ) -> None:
            def apply() -> bool:
                if rules.weight_decay and len(variable.shape) == 2:
                    variable.assign(variable * (1.0 - rate * rules.weight_decay))
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=update.beta1_power,
                    beta2_power=update.beta2_power,
                    lr=rate,
                    beta1=rules.beta1,
                    beta2=rules.beta2,
                    epsilon=rules.epsilon,
                    grad=gradient,
                )
                if average is not None:
                    average.assign(average + (1.0 - update.ema_decay) * (variable - average))
                return True

            tf.cond(good, apply, lambda: False)

        for name, (first, second, gradient) in pairs.items():
            rate = update.learning_rate * self._rate_factor(name)
            average = [self.average.by_name[name].value] if rules.ema else []
            args = (first, second, gradient, good, rate, *average)
            strategy.extended.update(self._variables[name], change, args=args, group=False)

    def _rate_factor(self, name: str) -> float:
        return self._rules.rate_factors.get(group_of(name), 1.0)

    def _evaluate_step(self, arrays: Tensors) -> tuple[Any, dict[str, Any]]:
        def replica_step() -> tuple[Any, dict[str, Any]]:
            shard = self._shard(arrays)
            outputs = self._objective.outputs(self.average, shard)
            return self._objective.losses(self.kernels, outputs, shard), dict(self._objective.answers(outputs))

        losses, answers = self._strategy.run(replica_step)
        return self._gathered(losses), {name: self._gathered(answer) for name, answer in answers.items()}

    # --- what the loop calls -----------------------------------------------------------------------------------

    def _padded(self, batch: Batch, *, training: bool) -> tuple[dict[str, np.ndarray], int]:
        """The batch's arrays with copies of its first sample, weighing nothing, up to a multiple of the devices."""
        missing = -len(batch.samples) % self.num_devices
        names = self.task.spec.of_batch(training=training)
        return {name: _with_copies(batch.arrays[name], missing) for name in names}, missing

    def train_step(
        self, batch: Batch, clip_keys: np.ndarray, *, learning_rate: float, updates: int, apply: bool = True
    ) -> tuple[np.ndarray, float]:
        arrays, missing = self._padded(batch, training=True)
        weights = np.concatenate([np.ones(len(batch.samples), np.float32), np.zeros(missing, np.float32)])
        keys = _with_copies(clip_keys.astype(np.uint32), missing)
        update = Update.number(updates, self._rules, learning_rate=learning_rate, apply=apply)
        with tf.device(self._device), _out_of_memory_named(batch, "--train_batch_size (or --batch_seconds)"):
            losses, norm = self._train(arrays, weights, keys, update)
        return losses.numpy()[: len(batch.samples)], float(norm)

    def evaluate_step(self, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        arrays, _ = self._padded(batch, training=False)
        with tf.device(self._device), _out_of_memory_named(batch, "--dev_batch_size or --test_batch_size"):
            losses, answers = self._evaluate(arrays)
        count = len(batch.samples)
        return losses.numpy()[:count], {name: answer.numpy()[:count] for name, answer in answers.items()}

    def traces(self) -> int:
        """How often the training step was traced: 1 on the CPU, whatever the shapes."""
        return self._train.experimental_get_tracing_count()

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        """Gradient of the mean loss without dropout, by canonical name; for tests, on one device."""
        arrays = {name: tf.constant(array) for name, array in batch.arrays.items()}
        with tf.GradientTape() as tape:
            outputs = self._objective.outputs(self.model, arrays)
            objective = tf.reduce_mean(self._objective.losses(self.kernels, outputs, arrays))
        gradients = tape.gradient(objective, list(self._variables.values()))
        return {name: g.numpy() for name, g in zip(self._variables, gradients, strict=True)}


def _with_copies(array: np.ndarray, missing: int) -> np.ndarray:
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def over_batches(function: Callable[..., Any], batches: Iterable[Batch], *, device: str) -> Iterator[tuple[Batch, Any]]:
    """See `backends.base.Library.over_batches`."""
    compiled = tf.function(function, reduce_retracing=True)
    for batch in batches:
        if batch.samples:
            with tf.device(f"/{device}"):
                results = compiled({name: tf.constant(array) for name, array in batch.arrays.items()})
            yield batch, tf.nest.map_structure(lambda tensor: tensor.numpy(), results)


@contextlib.contextmanager
def _out_of_memory_named(batch: Batch, flag: str) -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemory(
            f"Out of memory in a batch of {len(batch.samples)} samples ({batch.spec.cost} of each: up to "
            f"{int(batch.arrays[batch.spec.cost].max()):,})\nLower {flag}; the same command then resumes from the last "
            "checkpoint."
        ) from error
