"""The threads that recognise: those of streams, and the one of files, which the system ranks behind them."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")
FILES_AT_ONCE = 1
FILE_NICENESS = 5


class Workers:
    """LiteRT and the compiled beam release Python's lock, so that threads suffice; the event loop stays free.

    Args:
        num_threads: of streams.
    """

    def __init__(self, num_threads: int):
        self._streams = ThreadPoolExecutor(num_threads, "recognition")
        self._files = ThreadPoolExecutor(FILES_AT_ONCE, "files", initializer=rank_behind_streams)
        self._running: dict[int, float] = {}  # when the job of a thread began

    async def run(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """Run a job of a stream; its result, and the seconds that it took."""

        def job() -> tuple[Result, float]:
            thread = threading.get_ident()
            self._running[thread] = time.monotonic()
            try:
                return _timed(work)
            finally:
                del self._running[thread]

        return await asyncio.get_running_loop().run_in_executor(self._streams, job)

    async def run_file(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """Run a job of a file."""
        return await asyncio.get_running_loop().run_in_executor(self._files, _timed, work)

    def oldest_job_s(self) -> float:
        """How long the job of a stream has been running that began first."""
        return max((time.monotonic() - since for since in list(self._running.values())), default=0.0)

    def shut_down(self) -> None:
        """Leave the threads; jobs that run end by themselves."""
        for pool in (self._streams, self._files):
            pool.shutdown(wait=False, cancel_futures=True)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin


def rank_behind_streams() -> None:
    """Let the thread that calls this run when streams leave time."""
    # Linux ranks each thread by itself; where it must not be changed, files just compete with the streams.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FILE_NICENESS)
