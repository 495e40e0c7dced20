"""TensorFlow's compiled steps: gradients, Adam, the average of the weights, on one device or several."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from deepspeech_training.data.loader import Batch
from deepspeech_training.errors import OutOfMemory
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, group_of
from deepspeech_training.tasks.base import Task, Tensors
from deepspeech_training.training.backends.base import Part, Peers, Update, UpdateRules
from deepspeech_training.training.backends.tensorflow.devices import own_device
from deepspeech_training.training.backends.tensorflow.kernels import checked_kernels
from deepspeech_training.training.backends.tensorflow.workers import Workers

tf.autograph.set_verbosity(0)


class Rows(NamedTuple):
    """What a step knows of each row of this process.

    Args:
        weights: float32, 1; 0 of a copy that fills up a device's share.
        places: int32, among the rows of all processes.
        keys: uint32, what is random draws from them.
    """

    weights: Any
    places: Any
    keys: Any


class TensorFlowBackend:
    """A model in training, see `backends.base.Backend`; arguments as for `Library.backend`."""

    def __init__(
        self,
        task: Task,
        weights: Mapping[str, np.ndarray],
        *,
        devices: Sequence[str],
        peers: Peers | None = None,
        compute_dtype: str,
        rules: UpdateRules,
        training_options: Mapping[str, Any],
        normalisation: Normalisation | None,
        log: Callable[[str], None],
    ):
        self.task, self._objective = task, task.objective()
        self._local_devices = len(devices)
        self._workers = peers if isinstance(peers, Workers) else None
        self._rules = rules
        self._normalisation = normalisation
        on_gpu = all(name.startswith("GPU") for name in devices)
        self.kernels = checked_kernels(compute_dtype, on_gpu=on_gpu, log=log)
        if self._workers is not None:
            self._strategy = self._workers.strategy
        elif len(devices) > 1:
            self._strategy = tf.distribute.MirroredStrategy([own_device(name) for name in devices])
        else:
            self._strategy = tf.distribute.get_strategy()
        self._shares = self._strategy.num_replicas_in_sync > 1
        # Where there are several, the strategy says which. What it is given is made on the host: with no word of the
        # device, TensorFlow may choose that of another worker, and waits for ever.
        self._device = own_device("CPU:0") if self._shares else own_device(devices[0])
        with self._strategy.scope(), tf.device(None if self._shares else self._device):
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
        rows = Rows(*(tf.TensorSpec([None], kind) for kind in (tf.float32, tf.int32, tf.uint32)))
        number, total = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)
        update = Update(number, number, number, number, apply=tf.TensorSpec([], tf.bool))
        self._train = tf.function(self._train_step, input_signature=[self._arrays(training=True), rows, total, update])
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
        if self._local_devices == 1:
            return tensors
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group % self._local_devices

        def part(tensor: Any) -> Any:
            size = tf.shape(tensor)[0] // self._local_devices
            return tensor[replica * size : (replica + 1) * size]

        return tf.nest.map_structure(part, tensors)

    def _gathered(self, per_replica: Any) -> Any:
        """The parts of this process's replicas; where axis 1 differs between them, zeros are added."""
        if self._local_devices == 1:
            return per_replica
        parts = self._strategy.experimental_local_results(per_replica)
        if len(parts[0].shape) > 1:
            longest = tf.reduce_max([tf.shape(part)[1] for part in parts])
            rest = [[0, 0]] * (len(parts[0].shape) - 2)
            parts = [tf.pad(part, [[0, 0], [0, longest - tf.shape(part)[1]], *rest]) for part in parts]
        return tf.concat(parts, axis=0)

    def _train_step(self, arrays: Tensors, rows: Rows, total: Any, update: Update) -> tuple[Any, Any]:
        names = [name for name in self._variables if self._rate_factor(name) > 0]
        variables = [self._variables[name] for name in names]

        def replica_step() -> tuple[Any, Any]:
            shard, own = self._shard((arrays, rows))

            def computed() -> tuple[Any, list[Any]]:
                with tf.GradientTape() as tape:
                    outputs = self._objective.outputs(self.model, shard, clip_keys=own.keys)
                    losses = self._objective.training_losses(self.kernels, outputs, shard)
                    objective = tf.reduce_sum(losses * own.weights) / tf.cast(total, tf.float32)
                return losses, tape.gradient(objective, variables)

            losses, gradients = self._or_nothing(computed, own, variables)
            context = tf.distribute.get_replica_context()
            if self._shares:
                losses = tf.scatter_nd(own.places[:, None], tf.math.multiply_no_nan(losses, own.weights), total[None])
                losses, *gradients = _summed(context, [losses, *gradients])
            norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))
            good = tf.math.is_finite(norm) & tf.reduce_all(tf.math.is_finite(losses)) & update.apply
            if self._rules.max_grad_norm > 0:
                scale = tf.minimum(1.0, self._rules.max_grad_norm / tf.maximum(norm, 1e-12))
                gradients = [g * scale for g in gradients]
            pairs = {name: (*self._moments[name], g) for name, g in zip(names, gradients, strict=True)}
            context.merge_call(self._apply, args=(pairs, good, update))
            return losses, norm

        # They are the same on all replicas.
        return tuple(self._strategy.experimental_local_results(one)[0] for one in self._strategy.run(replica_step))

    def _or_nothing(self, computed: Callable[[], Any], own: Rows, variables: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Losses and gradients; none and zeros where this process has no rows of the batch, and others have some."""
        if self._workers is None:
            return computed()

        def nothing() -> tuple[Any, list[Any]]:
            return tf.zeros([0]), [tf.zeros(variable.shape) for variable in variables]

        return tf.cond(tf.size(own.weights) > 0, computed, nothing)

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
        missing = -len(batch.samples) % self._local_devices
        names = self.task.spec.of_batch(training=training)
        return {name: _with_copies(batch.arrays[name], missing) for name in names}, missing

    def train_step(
        self,
        batch: Batch,
        clip_keys: np.ndarray,
        *,
        learning_rate: float,
        updates: int,
        apply: bool = True,
        part: Part | None = None,
    ) -> tuple[np.ndarray, float]:
        arrays, missing = self._padded(batch, training=True)
        count = len(batch.samples)
        first, total = part or Part(0, count)
        rows = Rows(
            np.concatenate([np.ones(count, np.float32), np.zeros(missing, np.float32)]),
            _with_copies(np.arange(first, first + count, dtype=np.int32), missing),
            _with_copies(clip_keys.astype(np.uint32), missing),
        )
        update = Update.number(updates, self._rules, learning_rate=learning_rate, apply=apply)
        watched = contextlib.nullcontext() if self._workers is None else self._workers.watched()
        with watched, tf.device(self._device), _out_of_memory_named(batch, "--train_batch_size (or --batch_seconds)"):
            losses, norm = self._train(arrays, rows, np.int32(total), update)
            return losses.numpy(), float(norm)

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


def _summed(context: Any, tensors: Sequence[Any]) -> list[Any]:
    """The sums of float32 tensors over all replicas: one message for all, as each costs a round trip."""
    shapes = [tf.shape(tensor) for tensor in tensors]
    sizes = [tf.size(tensor) for tensor in tensors]
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    (flat,) = context.all_reduce(tf.distribute.ReduceOp.SUM, [flat])
    parts = tf.split(flat, sizes)
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _with_copies(array: np.ndarray, missing: int) -> np.ndarray:
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def over_batches(function: Callable[..., Any], batches: Iterable[Batch], *, device: str) -> Iterator[tuple[Batch, Any]]:
    """See `backends.base.Library.over_batches`."""
    compiled = tf.function(function, reduce_retracing=True)
    for batch in batches:
        if batch.samples:
            with tf.device(own_device(device)):
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
