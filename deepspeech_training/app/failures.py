"""Failures of the app: which of them is news, when it is tried again, and who is notified."""

import asyncio
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from deepspeech_training.console import Console
from deepspeech_training.reporting.events import Ended
from deepspeech_training.reporting.outside.sink import Outside

FIRST_RETRY_S, LONGEST_RETRY_S = 60.0, 600.0
NOTIFY_S = 20.0  # for a notification, where the app ends with the failure


@dataclass(frozen=True)
class Try:
    """
    Args:
        number: how often in a row it has failed in this way.
        wait_s: until it is tried again where no file changes.
    """

    number: int
    wait_s: float

    @property
    def is_news(self) -> bool:
        return self.number == 1


class Failures:
    """Counts failures of one kind in a row.

    Args:
        name: of the model, for notifications.
    """

    def __init__(self, name: str, console: Console):
        self._name, self._console = name, console
        self._number, self._kind = 0, ("", "")
        self._notifying: threading.Thread | None = None

    def add(self, message: str, signature: str) -> Try:
        """A failure; one that differs from the last in nothing but numbers is of its kind, unless files have changed.

        Args:
            signature: of the volume.
        """
        kind = (
            re.sub(r"[\d.,]+", "#", message),
            signature,
        )  # how much memory is free, or which step: differs each time
        self._number = self._number + 1 if kind == self._kind else 1
        self._kind = kind
        return Try(self._number, min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._number - 1, 10)))

    def forget(self) -> None:
        """Something has succeeded."""
        self._number, self._kind = 0, ("", "")

    def notify(self, urls: Sequence[str], message: str, exit_code: int) -> None:
        """Send a message, in a thread that nobody waits for long."""
        if not urls:
            return

        def work() -> None:
            settings = {"urls": list(urls), "name": self._name}
            sink = Outside("notify", "Notifications", settings, warn=self._console.warn)
            sink.take(Ended("failed", exit_code, message))

        self._notifying = threading.Thread(target=work, name="notification", daemon=True)
        self._notifying.start()

    async def notified(self) -> None:
        """Wait for the last message to be sent, where one is on its way."""
        if self._notifying is not None:
            await asyncio.to_thread(self._notifying.join, NOTIFY_S)
