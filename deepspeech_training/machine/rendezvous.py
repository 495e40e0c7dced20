"""Workers that train together wait for each other here, before TensorFlow does: its wait hears no signal and no end."""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator

from deepspeech_training.errors import UserError
from deepspeech_training.machine.cluster import Cluster, WorkerLost

MOST_WAIT_S = 1800.0  # for workers that have not come yet: images are pulled, nodes are started
TELL_AFTER_S, TELL_EVERY_S = 10.0, 60.0
LOOK_EVERY_S = 0.2
ANSWER_WITHIN_S = 2.0
BACKLOG = 4096  # connections of others that come while this one looks around


def meet(cluster: Cluster, say: Callable[[str], None], *, most_wait_s: float = MOST_WAIT_S) -> None:
    """Wait until all workers can be reached at once; signals are heard meanwhile.

    Each listens at its own port until it has reached all others, and then leaves the port to TensorFlow. Whoever looks
    in that moment looks again.

    Args:
        say: gets a line where one is missing for long.
    Raises:
        UserError: this process cannot listen at its port.
        WorkerLost: one has not come in `most_wait_s`.
    """
    with _listening(cluster) as listener:
        began = time.monotonic()
        tell_at = began + TELL_AFTER_S
        while missing := _missing(cluster):
            now = time.monotonic()
            if now - began > most_wait_s:
                raise WorkerLost(
                    f"no answer of {_named(missing)} in {most_wait_s / 60:.0f} minutes\n"
                    "Start all workers with the same --workers; nothing was trained yet."
                )
            if now > tell_at:
                tell_at = now + TELL_EVERY_S
                say(f"Waiting for the other workers: no answer of {_named(missing)} yet")
            _dismiss(listener, LOOK_EVERY_S)


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    """This worker's port, which connects with everybody and says nothing."""
    port = int(cluster.workers[cluster.rank].rpartition(":")[2])
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        listener = socket.create_server(
            ("", port), family=family, backlog=BACKLOG, dualstack_ipv6=family == socket.AF_INET6
        )
    except OSError as error:
        raise UserError(
            f"{cluster.name(cluster.rank)}: this process cannot listen at port {port} ({error.strerror})\n"
            "Is another worker running with this rank? Else choose other ports in --workers."
        ) from error
    with listener:
        yield listener


def _missing(cluster: Cluster) -> list[str]:
    """The other workers that do not answer, each with the reason."""
    missing = []
    for rank, address in enumerate(cluster.workers):
        host, _, port = address.rpartition(":")
        if rank != cluster.rank:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S).close()
            except OSError as error:
                missing.append(f"{cluster.name(rank)}: {error.strerror or error}")
    return missing


def _named(missing: list[str]) -> str:
    return "; ".join(missing[:4]) + ("; ..." if len(missing) > 4 else "")


def _dismiss(listener: socket.socket, seconds: float) -> None:
    """Wait, and close the connections of others that have come: they only wanted to know."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([listener], [], [], left)[0]:
            listener.accept()[0].close()
