"""TensorFlow 2 as a backend: kernels, the training step, devices. Nothing here imports it before it is used."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspeech_training.config.groups import PerformanceFlags
from deepspeech_training.console import stderr_without
from deepspeech_training.data.loader import Batch
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.machine.cluster import Cluster
from deepspeech_training.tasks.base import Task
from deepspeech_training.training.backends.base import Machine, Peers, UpdateRules

if TYPE_CHECKING:
    from deepspeech_training.training.backends.tensorflow.step import TensorFlowBackend

# Lines that TensorFlow's libraries write while they are loaded, before they obey TF_CPP_MIN_LOG_LEVEL.
START_UP_CHATTER = ("All log messages before absl::InitializeLog()", "oneDNN custom op")


class TensorFlow:
    """The library, see `backends.base.Library`."""

    title = "TensorFlow"

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with stderr_without(*START_UP_CHATTER):
            yield

    def set_up(
        self, flags: PerformanceFlags, cluster: Cluster | None = None, say: Callable[[str], None] = print
    ) -> Machine:
        with self.loading():
            from deepspeech_training.training.backends.tensorflow import devices
        return devices.set_up(flags, cluster, say)

    def probe(self) -> dict[str, Any]:
        machine = self.set_up(PerformanceFlags())
        from deepspeech_training.training.backends.tensorflow import devices

        return {
            **devices.cuda_build(),
            "versions": dict(machine.versions),
            "on_gpu": machine.on_gpu,
            "devices": machine.description,
            "right": {device: devices.small_product(device) for device in machine.devices},
        }

    def backend(
        self,
        task: Task,
        weights: Mapping[str, np.ndarray],
        *,
        devices: Sequence[str] = ("CPU:0",),
        peers: Peers | None = None,
        compute_dtype: str = "float32",
        rules: UpdateRules | None = None,
        training_options: Mapping[str, Any] | None = None,
        normalisation: Normalisation | None = None,
        log: Callable[[str], None] = print,
    ) -> "TensorFlowBackend":
        with self.loading():
            from deepspeech_training.training.backends.tensorflow.step import TensorFlowBackend
        return TensorFlowBackend(
            task,
            weights,
            devices=devices,
            peers=peers,
            compute_dtype=compute_dtype,
            rules=rules or UpdateRules(),
            training_options=training_options or {},
            normalisation=normalisation,
            log=log,
        )

    def over_batches(
        self, function: Callable[..., Any], batches: Iterable[Batch], *, device: str
    ) -> Iterator[tuple[Batch, Any]]:
        with self.loading():
            from deepspeech_training.training.backends.tensorflow.step import over_batches
        return over_batches(function, batches, device=device)
