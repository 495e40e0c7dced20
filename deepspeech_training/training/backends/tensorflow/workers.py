"""Several processes that train together: how they find each other, what they tell each other, and when one is lost.

TensorFlow's runtime connects them (gRPC, and NCCL between GPUs); its coordination service notices within seconds that
one has ended. Nothing of it is encrypted or asks for a password: the workers' network must be a closed one.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from deepspeech_training.machine.cluster import Cluster, WorkerLost
from deepspeech_training.machine.rendezvous import meet
from deepspeech_training.training.interrupt import interrupts

MOST_SILENCE_S = 900.0  # of a worker that lives, and neither computes nor fails: it waits for a disk
ROOM = 1000  # bytes that are exchanged at once; longer values take a second time
GROUP, EXCHANGES, ARRAYS = 1 << 20, 1 << 20, 1 << 21  # keys of collectives, far from those that the strategy counts
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)
RESUME = "The same command on all workers resumes from the last checkpoint."


def join(cluster: Cluster, say: Callable[[str], None]) -> "Workers":
    """Connect with all workers, once all are there.

    Args:
        say: gets a line where one is missing for long.
    Raises:
        UserError: one has not come, or was lost at once, or this one cannot open its port.
        Interrupted: a signal came.
    """
    meet(cluster, say)
    try:
        strategy = _strategy(cluster)
    except LOST as error:
        raise _lost(cluster, error) from error
    finally:
        interrupts.renew()  # TensorFlow takes SIGTERM for itself
    return Workers(cluster, strategy)


def _strategy(cluster: Cluster) -> tf.distribute.MultiWorkerMirroredStrategy:
    gpus = len(tf.config.list_physical_devices("GPU"))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.rank,
        num_accelerators={"GPU": gpus},
        rpc_layer="grpc",
    )
    kind = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=kind.AUTO if gpus else kind.RING, timeout_seconds=MOST_SILENCE_S
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver, communication_options=options)


def _lost(cluster: Cluster, error: Exception) -> WorkerLost:
    """The worker that an error of TensorFlow is about, for a person."""
    ranks = [int(found) for found in re.findall(r"/task:(\d+)", str(error))]
    others = [rank for rank in ranks if rank != cluster.rank and rank < len(cluster.workers)]
    name = cluster.name(others[0]) if others else "one of the other workers"
    told = [
        line for line in str(error).splitlines() if line.startswith("Collective ops is aborted") or "/task:" in line
    ]
    reason = next(iter(told), str(error))
    return WorkerLost(
        f"{name[0].upper()}{name[1:]} has ended or cannot be reached: its own output says why\n"
        f"(TensorFlow: {reason.strip()[:200]})\n{RESUME}"
    )


class Workers:
    """The processes of a cluster, see `backends.base.Peers`; `strategy` computes on all of them."""

    def __init__(self, cluster: Cluster, strategy: tf.distribute.MultiWorkerMirroredStrategy):
        self.strategy = strategy
        self.count, self.rank = len(cluster.workers), cluster.rank
        self._cluster = cluster
        self._device = f"/job:worker/task:{cluster.rank}/device:CPU:0"
        self._keys = {"group_size": self.count, "group_key": GROUP}
        self._options = {"communication_hint": "ring", "timeout_seconds": MOST_SILENCE_S}
        self._gathers: dict[int, Callable[[Any], Any]] = {}
        self._arrays_sent = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A block in which an error of a collective names the worker that is lost."""
        try:
            yield
        except LOST as error:
            raise _lost(self._cluster, error) from error

    def exchange(self, value: Any) -> list[Any]:
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        sizes, heads = self._heads(text)
        longest = max(sizes)
        texts = heads if longest <= ROOM else self._gather(text, 1 << (longest - 1).bit_length())
        return [json.loads(bytes(row[:size])) for row, size in zip(texts, sizes, strict=True)]

    def _heads(self, text: np.ndarray) -> tuple[list[int], np.ndarray]:
        """The lengths of all texts, and the first bytes of each."""
        length = np.frombuffer(np.int64(len(text)).tobytes(), np.uint8)
        rows = self._gather(np.concatenate([length, text[:ROOM]]), ROOM + 8)
        return rows[:, :8].copy().view(np.int64)[:, 0].tolist(), rows[:, 8:]

    def _gather(self, content: np.ndarray, size: int) -> np.ndarray:
        """uint8 [at most size] of this process -> uint8 [count, size]. Collectives take no uint8, hence int32."""
        if size not in self._gathers:
            self._gathers[size] = self._gather_of(size)
        row = np.zeros((1, size), np.uint8)
        row[0, : len(content)] = content
        with self.watched(), tf.device(self._device):
            return np.ascontiguousarray(self._gathers[size](row.view(np.int32)).numpy()).view(np.uint8)

    def _gather_of(self, size: int) -> Callable[[Any], Any]:
        """Compiled, with a key of its own for each size."""

        @tf.function(input_signature=[tf.TensorSpec([1, size // 4], tf.int32)])
        def gather(row: Any) -> Any:
            return tf.raw_ops.CollectiveGatherV2(
                input=row, instance_key=EXCHANGES + size, ordering_token=[], **self._keys, **self._options
            )

        return gather

    def from_first(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        head = [[name, list(array.shape), array.dtype.name] for name, array in arrays.items()]
        return {
            name: self._from_first(arrays.get(name), shape, dtype)
            for name, shape, dtype in self.exchange(head if self.rank == 0 else None)[0]
        }

    def _from_first(self, array: np.ndarray | None, shape: list[int], dtype: str) -> np.ndarray:
        self._arrays_sent += 1
        key = ARRAYS + self._arrays_sent
        with self.watched(), tf.device(self._device):
            if self.rank == 0:
                tf.raw_ops.CollectiveBcastSendV2(input=array, instance_key=key, **self._keys, **self._options)
                assert array is not None
                return array
            received = tf.raw_ops.CollectiveBcastRecvV2(
                shape=shape, T=tf.as_dtype(dtype), instance_key=key, **self._keys, **self._options
            )
            return received.numpy()
