"""TensorFlow's compiled steps: gradients, Adam, the average of the weights, on one device or several."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deepspeech_training.augment.augmenter import DRAWS
from deepspeech_training.data.loader import Batch
from deepspeech_training.errors import OutOfMemory
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import group_of
from deepspeech_training.tasks.base import Task
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
        self.task = task
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
            self.model = task.build_model(self.kernels, normalisation, **training_options)
            # What is evaluated: the network of the averages, or the one that is trained.
            self.average = task.build_model(self.kernels, normalisation) if rules.ema else self.model
            self._variables = {name: variable.value for name, variable in self.model.by_name.items()}
            self._moments = {
                name: tuple(tf.Variable(tf.zeros(v.shape), trainable=False, name=f"{name}/{kind}") for kind in "mv")
                for name, v in self._variables.items()
            }
        self.set_weights(weights)
        self._train = tf.function(self._train_step, input_signature=self._signature(), reduce_retracing=True)
        self._evaluate = tf.function(self._evaluate_step, input_signature=self._signature()[:4])

    # --- weights and moments, as numpy by canonical name -------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        trained = self.model.named_weights()
        average = self.average.named_weights() if self._rules.ema else trained
        arrays = dict(average)
        if self._normalisation is not None:
            arrays = self.task.network.fold(average, self._normalisation)
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
            usable = self.task.network.unfold(usable, self._normalisation)
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
        return self.model.count_params()

    @property
    def trains_other_weights(self) -> bool:
        return bool(self._rules.ema) or self._normalisation is not None

    # --- the compiled steps ------------------------------------------------------------------------------------

    @staticmethod
    def _signature():
        number = tf.TensorSpec([], tf.float32)
        return (
            tf.TensorSpec([None, None], tf.float32, "audio"),
            tf.TensorSpec([None], tf.int32, "num_samples"),
            tf.TensorSpec([None, None], tf.int32, "labels"),
            tf.TensorSpec([None], tf.int32, "num_labels"),
            tf.TensorSpec([None], tf.float32, "clip_weights"),
            tf.TensorSpec([None], tf.uint32, "clip_keys"),
            tf.TensorSpec([None, DRAWS], tf.float32, "draws"),
            Update(number, number, number, number, apply=tf.TensorSpec([], tf.bool)),
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
        return model(features, num_frames, clip_keys=clip_keys)

    def _train_step(self, audio, num_samples, labels, num_labels, clip_weights, clip_keys, draws, update):
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
            good = tf.math.is_finite(norm) & (bad_losses == 0) & update.apply
            if self._rules.max_grad_norm > 0:
                scale = tf.minimum(1.0, self._rules.max_grad_norm / tf.maximum(norm, 1e-12))
                gradients = [g * scale for g in gradients]
            pairs = {name: (*self._moments[name], g) for name, g in zip(names, gradients, strict=True)}
            context.merge_call(self._apply, args=(pairs, good, update))
            return losses, tf.reshape(norm, [1])

        losses, norm = self._strategy.run(replica_step)
        return self._gathered(losses), self._gathered(norm)[0]

    def _apply(self, strategy, pairs, good, update: Update):
        """Adam in TF1's form: both bias corrections in the rate, epsilon beside the root of the uncorrected moment."""
        rules = self._rules

        def change(variable, first, second, gradient, good, rate, average=None):
            def apply():
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

    def _evaluate_step(self, audio, num_samples, labels, num_labels):
        def replica_step():
            shards = [self._shard(t) for t in (audio, num_samples, labels, num_labels)]
            logits, num_frames = self._forward(self.average, *shards[:2])
            losses = self.task.losses(self.kernels, logits, num_frames, *shards[2:])
            return losses, tf.nn.log_softmax(logits), num_frames

        losses, log_probs, num_frames = self._strategy.run(replica_step)
        if self.num_devices == 1:
            return losses, log_probs, num_frames
        parts = self._strategy.experimental_local_results(log_probs)
        longest = tf.reduce_max([tf.shape(part)[1] for part in parts])
        parts = [tf.pad(part, [[0, 0], [0, longest - tf.shape(part)[1]], [0, 0]]) for part in parts]
        return self._gathered(losses), tf.concat(parts, axis=0), self._gathered(num_frames)

    # --- what the loop calls -----------------------------------------------------------------------------------

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
        arrays, missing = self._padded(batch)
        draws = np.zeros((len(batch.samples), DRAWS), np.float32) if batch.draws is None else batch.draws
        draws = np.concatenate([draws, np.repeat(draws[:1], missing, axis=0)])
        clip_weights = np.concatenate([np.ones(len(batch.samples), np.float32), np.zeros(missing, np.float32)])
        clip_keys = np.concatenate([clip_keys, np.repeat(clip_keys[:1], missing)]).astype(np.uint32)
        update = Update.number(updates, self._rules, learning_rate=learning_rate, apply=apply)
        with tf.device(self._device), _out_of_memory_named(batch, "--train_batch_size (or --batch_seconds)"):
            losses, norm = self._train(*arrays, clip_weights, clip_keys, draws, update)
        return losses.numpy()[: len(batch.samples)], float(norm)

    def evaluate_step(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def over_batches(function: Callable[..., Any], batches: Iterable[Batch], *, device: str) -> Iterator[tuple[Batch, Any]]:
    """See `backends.base.Library.over_batches`."""
    compiled = tf.function(function, reduce_retracing=True)
    for batch in batches:
        if batch.samples:
            with tf.device(f"/{device}"):
                results = compiled(tf.constant(batch.audio), tf.constant(batch.num_samples))
            yield batch, tf.nest.map_structure(lambda tensor: tensor.numpy(), results)


@contextlib.contextmanager
def _out_of_memory_named(batch: Batch, flag: str) -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemory(
            f"Out of memory in a batch of {len(batch.samples)} clips of up to {int(batch.num_samples.max()):,} samples "
            f"each\nLower {flag}; the same command then goes on from the last checkpoint."
        ) from error
