"""Messages about a run by Apprise: to mail, Slack, Telegram, ntfy, webhooks and a hundred other services."""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deepspeech_training.reporting.events import (
    Ended,
    Event,
    Exported,
    Finished,
    Initialised,
    Outcome,
    RateReduced,
    SetTested,
    Started,
)
from deepspeech_training.reporting.figures import LOSS, SPEECH_TO_TEXT, Figure, figures_text
from deepspeech_training.reporting.messages import duration

CTRL_C = 130  # whoever pressed it knows
EARLY = "no better dev loss"  # with what the reason of an early stop begins


def bad_urls(urls: Sequence[str]) -> list[str]:
    """The schemes of those that Apprise cannot use."""
    import apprise

    logging.getLogger("apprise").propagate = False  # what it says has the URL, with tokens
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    schemes = [re.match(r"(?:([\w+.-]+)://)?", url) for url in urls if not apprise.Apprise().add(url)]
    return [(scheme and scheme[1]) or "" for scheme in schemes]


def receiver(settings: Mapping[str, Any], keep: Callable[[Any], None]) -> "Notifier":
    return Notifier(
        settings["urls"],
        settings["name"],
        has_told_plateau=bool(settings.get("kept")),
        keep=keep,
        tells_failures=settings.get("failures", True),
    )


class Notifier:
    """Tells when the training ends, fails or stops improving, and when it is killed.

    Args:
        name: of the run.
        has_told_plateau: that it has stopped improving was told before it resumed; once is enough.
        keep: called with True when that is told.
        tells_failures: that it fails or is killed is not told by another process.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        *,
        has_told_plateau: bool,
        keep: Callable[[Any], None],
        tells_failures: bool = True,
    ):
        self._urls, self._name = urls, name
        self._has_told_plateau, self._keep, self._tells_failures = has_told_plateau, keep, tells_failures
        self._began: float | None = None
        self._figures: Sequence[Figure] = SPEECH_TO_TEXT
        self._best = self._stopped = ""
        self._found: list[str] = []  # tests, exports
        self._advice: list[str] = []

    def take(self, event: Event) -> None:
        match event:
            case Started():
                self._figures, self._began = event.judged_by, event.time
            case Initialised():  # a new run
                self._has_told_plateau = False
            case RateReduced() if not self._has_told_plateau:
                self._has_told_plateau = True
                self._keep(True)
                self._send("has stopped improving", "warning", _plateau(event))
            case Finished():
                self._stopped = event.reason
            case Outcome():
                self._take_outcome(event)
            case SetTested():
                values = figures_text({"loss": event.loss, **event.values}, (*self._figures, LOSS))
                self._found.append(f"Test      {Path(event.csv).name}: {values}")
            case Exported():
                self._found.append(f"Exported  {event.path}")
            case Ended():
                self._end(event)

    def close(self, *, has_ended: bool) -> None:
        if not has_ended and self._tells_failures:
            self._send(
                "was killed", "failure", "It ended without a word: most often that is the limit of memory (SIGKILL)."
            )

    def _take_outcome(self, event: Outcome) -> None:
        if event.best_epoch is not None and event.best_figures is not None:
            values = figures_text(event.best_figures, (LOSS, *self._figures))
            self._best = f"Best      epoch {event.best_epoch + 1}: dev {values}"
        self._advice = [*event.diagnosis, f"Next      {event.next}"]

    def _end(self, event: Ended) -> None:
        if event.status == "done":
            early = self._stopped.startswith(EARLY)
            what = "has stopped improving, and ended" if early else "has ended"
            self._send(what, "warning" if early else "success", self._stopped)
        elif event.status == "interrupted":
            if event.exit_code != CTRL_C:
                self._send("was interrupted", "warning", event.message or "The same command resumes it.")
        elif self._tells_failures:
            message = event.message or "a fault of the program: its log has the traceback"
            self._send("has failed", "failure", message)

    def _send(self, what: str, kind: str, reason: str) -> None:
        """Send a message to all, at the same time.

        Raises:
            ConnectionError: names the services that have not taken it.
        """
        import apprise

        took = "" if self._began is None else f"Time      {duration(time.time() - self._began)}"
        lines = [reason, self._best, *self._found, took, *self._advice]
        message: dict[str, Any] = {
            "title": f"{self._name} {what}",
            "body": "\n".join(filter(None, lines)),
            "notify_type": kind,
        }

        def deliver(url: str) -> str:
            service = apprise.Apprise()
            service.add(url)
            return "" if service.notify(**message, body_format="text") else str(service[0].service_name)

        with ThreadPoolExecutor(len(self._urls)) as threads:
            failed = [name for name in threads.map(deliver, self._urls) if name]
        if failed:
            raise ConnectionError(f"a message could not be delivered ({', '.join(failed)})")


def _plateau(event: RateReduced) -> str:
    return (
        f"No better dev loss for {event.epochs_without_improvement} epochs: it continues from epoch "
        f"{event.best_epoch + 1} with the learning rate {event.learning_rate:.3g}."
    )
