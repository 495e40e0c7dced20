"""SIGTERM, Ctrl-C, a lost terminal: ask the training loop to save and stop; end at once where nothing is to be saved.

Installed before TensorFlow is imported, which takes seconds in which a container may well be stopped.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

EXIT_CODES: dict[int, int] = {
    signal.SIGTERM: 143,
    signal.SIGINT: 130,
    signal.SIGHUP: 129,
}  # 128 + the signal's number, as shells have it


class Interrupted(BaseException):
    """Raised to end the program; no Exception, so that no handler of errors swallows it."""

    def __init__(self, exit_code: int, message: str = ""):
        super().__init__(message)
        self.exit_code = exit_code


class _Interrupts:
    def __init__(self):
        self._caught: int | None = None
        self._training = False

    def install(self) -> None:
        """Take over the signals, none of which has come yet; call it in the main thread."""
        self._caught, self._training = None, False
        for number in EXIT_CODES:
            # nohup: the program outlives its terminal
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def renew(self) -> None:
        """Take over again those that were taken over: compiled code may have done so since, unseen by Python."""
        for number in EXIT_CODES:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, self._handle)

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Take over the signals for a block, where Python lets us: in the main thread."""
        self._caught, self._training = None, False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in EXIT_CODES}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:  # one that was set by C code cannot be given back
                    signal.signal(number, handler)

    def _handle(self, number: int, frame) -> None:
        first, self._caught = self._caught is None, number
        # A lost terminal sends SIGHUP more than once (the kernel and the shell do), and no person is in a hurry.
        if self._training and (first or number == signal.SIGHUP):
            # Not print: the signal may have come while Python itself writes to stderr, which is not reentrant.
            with contextlib.suppress(OSError):
                os.write(2, b"I stopping: the current step is finished and saved (again: stop without saving)\n")
            return
        raise Interrupted(EXIT_CODES[number])

    def begin_training(self) -> None:
        """From here on a first signal is only remembered, for `requested`."""
        self._training = True

    def end_training(self) -> None:
        """From here on a signal ends the program; one that came too late to be seen by the loop does so now."""
        self._training = False
        if self._caught is not None:
            raise Interrupted(EXIT_CODES[self._caught])

    def requested(self) -> int | None:
        """The exit code to end with, if a signal has come.

        Outside of training too, where `Interrupted` was raised: compiled code that it passes through may turn it into
        an error of its own (TensorFlow does, while it traces a step) or lose it.
        """
        return None if self._caught is None else EXIT_CODES[self._caught]

    def leave(self) -> None:
        """Forget what has come, and let the signals do what they do anywhere else; a copy of the process does so."""
        self._caught, self._training = None, False
        for number in EXIT_CODES:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


interrupts = _Interrupts()
os.register_at_fork(after_in_child=interrupts.leave)
