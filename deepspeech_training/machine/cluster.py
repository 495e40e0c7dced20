"""Who trains together: the flags, TF_CONFIG or what Slurm and Kubernetes set -> the workers, and which this one is."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from deepspeech_training.config.groups import ClusterFlags
from deepspeech_training.errors import FlagError, UserError

ALONE = ("none",)  # --workers none: whatever the environment says
RANK_VARIABLES = ("SLURM_PROCID", "JOB_COMPLETION_INDEX")
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # below the ports that Linux gives to connections (32768)
PORTS_OF_A_JOB = 64  # so many tasks of a job on one node
MOST_WORKERS = 4096
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


@dataclass(frozen=True)
class Cluster:
    """The processes of one training.

    Args:
        workers: "host:port" of each, by rank.
        rank: of this process.
        source: where this is known from, for a person.
    """

    workers: tuple[str, ...]
    rank: int
    source: str

    @property
    def is_first(self) -> bool:
        """Whether this one writes what the training leaves behind."""
        return self.rank == 0

    def name(self, rank: int) -> str:
        """A worker, for a person.

        >>> Cluster(("a:2222", "b:2222"), 0, "flags").name(1)
        'worker 1 (b:2222)'
        """
        return f"worker {rank} ({self.workers[rank]})"

    def line(self) -> str:
        """What was found, in one line."""
        return f"Cluster   {self.name(self.rank)} of {len(self.workers)}, as {self.source} says"


def find_cluster(flags: ClusterFlags, environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that this process belongs to; None for a process that trains alone.

    --workers counts before TF_CONFIG, and that before Slurm. A rank that is not given is that of Slurm or of the pod
    of a Kubernetes Indexed Job.

    Raises:
        FlagError: the flags, or the variables, do not say who the workers are and which of them this one is.
    """
    if flags.workers == ALONE:
        return None
    if flags.workers:
        rank, source = flags.rank, "--workers"
        if rank < 0:
            rank, variable = _rank_of(environment)
            source += f" with {variable}"
        return _checked(flags.workers, rank, source)
    if flags.rank >= 0:
        raise FlagError(f"--rank {flags.rank}: the rank among which workers? Give --workers host:port,host:port too")
    if environment.get("TF_CONFIG"):
        return _of_tf_config(environment["TF_CONFIG"])
    return _of_slurm(environment)


def _rank_of(environment: Mapping[str, str]) -> tuple[int, str]:
    for name in RANK_VARIABLES:
        if environment.get(name, "").isdecimal():
            return int(environment[name]), name
    raise FlagError(
        f"--workers without --rank: which of them is this one? Give --rank, from 0 on; it is found by itself where "
        f"{' or '.join(RANK_VARIABLES)} is set"
    )


def _checked(workers: tuple[str, ...], rank: int, source: str) -> Cluster | None:
    for address in workers:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[2]) < 65536:
            raise FlagError(f"{source}: {address!r} is no worker: each is host:port, such as gpu-1:2222")
    twice = next((address for address in workers if workers.count(address) > 1), None)
    if twice is not None:
        raise FlagError(f"{source}: {twice} is there twice; each worker needs an address of its own")
    if len(workers) > MOST_WORKERS:
        raise FlagError(f"{source}: {len(workers):,} workers; {MOST_WORKERS:,} are the most")
    if not 0 <= rank < len(workers):
        raise FlagError(
            f"{source}: there are {len(workers)} workers, so the rank is 0 to {len(workers) - 1}, not {rank}"
        )
    return Cluster(workers, rank, source) if len(workers) > 1 else None


def _of_tf_config(text: str) -> Cluster | None:
    """TensorFlow's variable: a "chief", if there is one, is the first worker."""
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
        rank = int(task["index"]) + (len(chiefs) if task["type"] == "worker" else 0)
        known = task["type"] in ("chief", "worker") and all(isinstance(a, str) for a in [*chiefs, *workers])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FlagError(
            f"TF_CONFIG in the environment cannot be read ({type(error).__name__}: {error})\n"
            'It is JSON: {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}. '
            "--workers none trains without it."
        ) from error
    if not known:
        raise FlagError(f'TF_CONFIG: the task {task["type"]!r} does not train; there are only "chief" and "worker"')
    return _checked((*chiefs, *workers), rank, "TF_CONFIG")


def _of_slurm(environment: Mapping[str, str]) -> Cluster | None:
    """The tasks of the step that `srun` has started; a batch script outside of srun trains alone.

    The port is made of the number of the job, so that two jobs on a node do not meet.
    """
    count = environment.get("SLURM_STEP_NUM_TASKS", "")
    if not count.isdecimal() or int(count) < 2:
        return None
    try:
        rank, job = int(environment["SLURM_PROCID"]), int(environment["SLURM_JOB_ID"])
        hosts = expand_hosts(environment["SLURM_STEP_NODELIST"])
        per_host = expand_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
        places = [(host, place) for host, tasks in zip(hosts, per_host, strict=True) for place in range(tasks)]
    except (KeyError, ValueError) as error:
        raise FlagError(
            f"Slurm has started {count} tasks, but its variables do not say where ({type(error).__name__}: {error})\n"
            "Start them with srun, or give --workers; --workers none trains alone."
        ) from error
    if environment.get("SLURM_DISTRIBUTION", "block").split(",")[0].split(":")[0] not in ("block", ""):
        raise FlagError("Slurm deals the tasks otherwise than block by block: use srun --distribution=block")
    first = FIRST_PORT + job * PORTS_OF_A_JOB % NUM_PORTS
    workers = tuple(f"{host}:{first + place}" for host, place in places)
    return _checked(workers, rank, f"Slurm's job {job}")


def expand_hosts(text: str) -> list[str]:
    """Slurm's list of hosts, one by one, as `scontrol show hostnames` has them.

    >>> expand_hosts("login,gpu[08-10,12]-ib")
    ['login', 'gpu08-ib', 'gpu09-ib', 'gpu10-ib', 'gpu12-ib']
    """
    hosts: list[str] = []
    for part in re.split(r",(?![^\[]*\])", text):
        match = re.fullmatch(r"([^\[\]]*)(?:\[([\d,-]+)\](.*))?", part)
        if match is None or not part:
            raise ValueError(f"{text!r} is no list of hosts")
        if match[2] is None:
            hosts.append(part)
            continue
        for piece in match[2].split(","):
            low, _, high = piece.partition("-")
            if int(high or low) - int(low) > MOST_WORKERS:
                raise ValueError(f"{piece!r} are too many hosts")
            for number in range(int(low), int(high or low) + 1):
                hosts += expand_hosts(f"{match[1]}{number:0{len(low)}}{match[3]}")
    return hosts


def expand_counts(text: str) -> list[int]:
    """Slurm's tasks of each host.

    >>> expand_counts("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:\(x(\d{1,4})\))?", part)
        if match is None:
            raise ValueError(f"{part!r} is no number of tasks")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


class WorkerLost(UserError):
    """A worker has ended, or cannot be reached any more."""
