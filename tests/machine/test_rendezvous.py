"""Workers wait for each other: until all are there, with a line for whoever waits, and not for ever."""

import socket
import threading

import pytest

from deepspeech_training.errors import UserError
from deepspeech_training.machine import rendezvous
from deepspeech_training.machine.cluster import Cluster, WorkerLost
from deepspeech_training.machine.rendezvous import meet


@pytest.fixture
def workers() -> tuple[str, ...]:
    """Three free ports of this host."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    found = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return found


def test_workers_that_come_one_by_one_meet_and_leave_their_ports(workers):
    met = []

    def come(rank: int) -> None:
        meet(Cluster(workers, rank, "a test"), print, most_wait_s=60)
        met.append(rank)
        # As TensorFlow does then; who is still looking around finds this one here.
        listeners.append(socket.create_server(("127.0.0.1", int(workers[rank].rpartition(":")[2]))))

    listeners: list[socket.socket] = []
    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(3)]
    for thread in threads[:2]:
        thread.start()
    threads[0].join(1.0)
    assert met == []
    threads[2].start()
    for thread in threads:
        thread.join(60)
    for listener in listeners:
        listener.close()
    assert sorted(met) == [0, 1, 2]


def test_one_that_does_not_come_is_named_and_not_waited_for_for_ever(workers, monkeypatch):
    monkeypatch.setattr(rendezvous, "TELL_AFTER_S", 0.0)
    said: list[str] = []
    with pytest.raises(WorkerLost, match=r"no answer of worker 1 .*worker 2") as caught:
        meet(Cluster(workers, 0, "a test"), said.append, most_wait_s=0.5)
    assert workers[2] in str(caught.value) and "nothing was trained yet" in str(caught.value)
    assert len(said) == 1 and said[0].startswith("Waiting for the other workers: no answer of worker 1")


def test_a_port_that_is_taken_is_told(workers):
    with (
        socket.create_server(("", int(workers[0].rpartition(":")[2]))),
        pytest.raises(UserError, match="cannot listen at port"),
    ):
        meet(Cluster(workers, 0, "a test"), print)
