"""Clips on all cores: tasks to worker processes, results in the order of the tasks, a bounded number of them at a time.

Processes, since a recording that crashes a decoder must not take the import with it.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TypeVar

from deepspeech_training.importers.clip_jobs import ClipJob, ClipResult

T = TypeVar("T")
JOBS_PER_TASK = 16
TASKS_AHEAD = 4  # of each worker


@dataclass
class Task:
    """Some jobs, and the temporary recordings that they are the last to need."""

    jobs: list[ClipJob] = field(default_factory=list)
    temporary: list[Path] = field(default_factory=list)


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
    if not jobs:  # the first task, which makes the processes start
        return []
    from deepspeech_training.importers.clips import convert  # numpy, libsndfile, libsoxr: for workers alone

    return [convert(job) for job in jobs]


def _delete_after(task: Task, results: list[ClipResult]) -> list[ClipResult]:
    for path in task.temporary:
        path.unlink(missing_ok=True)
    return results


class Converters:
    """Processes that convert clips, made again when one of them dies. Use as a context manager.

    They start with it: made first thing in a program they are copies of a small process that has neither files nor
    locks open.

    Args:
        workers: how many; 1: this process does the work.
    """

    def __init__(self, workers: int):
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        if workers > 1:
            self._submit([])

    def __enter__(self) -> "Converters":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def convert_all(self, recordings: Iterable[tuple[list[ClipJob], Path | None]]) -> Iterator[list[ClipResult]]:
        """Convert clips.

        Args:
            recordings: the jobs of one recording, and its path if it is to be deleted afterwards.
        Returns:
            The results of task after task, in order.
        Raises:
            OSError: a clip cannot be written.
        """
        if self._workers == 1:
            for task in _tasks(recordings):
                yield _delete_after(task, _convert_some(task.jobs))
            return
        pending: deque[tuple[Task, Future]] = deque()
        for task in _tasks(recordings):
            pending.append((task, self._submit(task.jobs)))
            if len(pending) >= TASKS_AHEAD * self._workers:
                yield self._result(*pending.popleft())
        while pending:
            yield self._result(*pending.popleft())

    def call(self, function: Callable[..., T], *arguments, **named) -> T:
        """What a function of a module returns, called in one of the processes."""
        return (
            function(*arguments, **named) if self._workers == 1 else self._start(function, *arguments, **named).result()
        )

    def _submit(self, jobs: list[ClipJob]) -> Future:
        return self._start(_convert_some, jobs)

    def _start(self, function: Callable, *arguments, **named) -> Future:
        for _ in range(2):
            if self._executor is None:
                self._executor = _executor(self._workers)
            try:
                with _without_ctrl_c():
                    return self._executor.submit(function, *arguments, **named)
            except BrokenProcessPool:
                self.close()
        raise RuntimeError("worker processes cannot be started")

    def _result(self, task: Task, future: Future) -> list[ClipResult]:
        try:
            results = future.result()
        except BrokenProcessPool:
            results = [_convert_alone(job) for job in task.jobs]
        return _delete_after(task, results)

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


def _convert_alone(job: ClipJob) -> ClipResult:
    """One clip in a process of its own, so that a crash tells which clip it was."""
    with _executor(1) as executor:
        try:
            with _without_ctrl_c():
                future = executor.submit(_convert_some, [job])
            return future.result()[0]
        except BrokenProcessPool:
            return ClipResult(job.key, code="unreadable", reason="the decoder crashed on it")


def _executor(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=_context(), initializer=_start_worker)


def _context() -> BaseContext:
    """How processes start: as copies of this one, in a millisecond, while it has a single thread.

    A copy of several threads is one of them, with the locks that the others held for ever: then as Pythons of their
    own, in a tenth of a second.
    """
    try:
        is_alone = len(os.listdir("/proc/self/task")) == 1  # numpy's libraries have threads that Python does not know
    except OSError:  # not Linux; macOS's own libraries do not bear it
        is_alone = False
    return multiprocessing.get_context("fork" if is_alone else "spawn")


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
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
