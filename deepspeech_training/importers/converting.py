"""Clips on all cores: tasks to worker processes, results in the order of the tasks, a bounded number of them at a time.

Processes, since a recording that crashes a decoder must not take the import with it.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_training.importers.clips import ClipJob, ClipResult, convert

JOBS_PER_TASK = 16
TASKS_AHEAD = 4  # of each worker


@dataclass
class Task:
    """Some jobs, and the temporary recordings that they are the last to need."""

    jobs: list[ClipJob] = field(default_factory=list)
    temporary: list[Path] = field(default_factory=list)


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def convert_all(recordings: Iterable[tuple[list[ClipJob], Path | None]], workers: int) -> Iterator[list[ClipResult]]:
    """Convert clips in `workers` processes (1: in this one).

    Args:
        recordings: the jobs of one recording, and its path if it is to be deleted afterwards.
    Returns:
        The results of task after task, in order.
    Raises:
        OSError: a clip cannot be written.
    """
    if workers == 1:
        for task in _tasks(recordings):
            yield _delete_after(task, _convert_some(task.jobs))
        return
    pool = _Pool(workers)
    pending: deque[tuple[Task, Future]] = deque()
    try:
        for task in _tasks(recordings):
            pending.append((task, pool.submit(task.jobs)))
            if len(pending) >= TASKS_AHEAD * workers:
                yield _result(pool, *pending.popleft())
        while pending:
            yield _result(pool, *pending.popleft())
    finally:
        pool.close()


def _tasks(recordings: Iterable[tuple[list[ClipJob], Path | None]]) -> Iterator[Task]:
    task = Task()
    for jobs, temporary in recordings:
        task.jobs += jobs
        if temporary is not None:
            task.temporary.append(temporary)
        if len(task.jobs) >= JOBS_PER_TASK:
            yield task
            task = Task()
    if task.jobs:
        yield task


def _convert_some(jobs: list[ClipJob]) -> list[ClipResult]:
    return [convert(job) for job in jobs]


def _delete_after(task: Task, results: list[ClipResult]) -> list[ClipResult]:
    for path in task.temporary:
        path.unlink(missing_ok=True)
    return results


def _result(pool: "_Pool", task: Task, future: Future) -> list[ClipResult]:
    try:
        results = future.result()
    except BrokenProcessPool:
        results = [pool.convert_alone(job) for job in task.jobs]
    return _delete_after(task, results)


class _Pool:
    """A process pool that is made anew when one of its processes dies."""

    def __init__(self, workers: int):
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, jobs: list[ClipJob]) -> Future:
        for _ in range(2):
            if self._executor is None:
                self._executor = _executor(self._workers)
            try:
                with _without_ctrl_c():
                    return self._executor.submit(_convert_some, jobs)
            except BrokenProcessPool:
                self.close()
        raise RuntimeError("worker processes cannot be started")

    def convert_alone(self, job: ClipJob) -> ClipResult:
        """One clip in a process of its own, so that a crash tells which clip it was."""
        with _executor(1) as executor:
            try:
                with _without_ctrl_c():
                    future = executor.submit(convert, job)
                return future.result()
            except BrokenProcessPool:
                return ClipResult(job.key, code="unreadable", reason="the decoder crashed on it")

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


def _executor(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C, which is the parent's business; it gets its own afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A parent that was killed cannot end its workers, and they would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
