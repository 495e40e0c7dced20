"""Work on threads whose results come in the order of its tasks."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
DEFAULT_WORKERS = 8  # headers on a network volume wait; threads hide it
ROWS_PER_TASK = 64


def in_order(function: Callable[[T], R], tasks: Iterable[T], *, workers: int = DEFAULT_WORKERS) -> Iterator[R]:
    """As `map`, on threads, with a few tasks ahead."""
    waiting = iter(tasks)
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as executor:
        ahead = deque(executor.submit(function, task) for task in itertools.islice(waiting, 2 * workers))
        try:
            while ahead:
                result = ahead.popleft().result()
                ahead.extend(executor.submit(function, task) for task in itertools.islice(waiting, 1))
                yield result
        finally:
            for future in ahead:  # Ctrl-C waits for the current tasks, not for all
                future.cancel()


def batched(things: Iterable[T], size: int = ROWS_PER_TASK) -> Iterator[tuple[T, ...]]:
    """Tasks of so many things each.

    >>> list(batched("abcde", 2))
    [('a', 'b'), ('c', 'd'), ('e',)]
    """
    waiting = iter(things)
    while batch := tuple(itertools.islice(waiting, size)):
        yield batch
