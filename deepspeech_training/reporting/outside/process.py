"""The process of a receiver: `python -m deepspeech_training.reporting.outside.process`.

Its stdin has a line of JSON with the receiver and its settings, then a line for each event. Its stdout has lines of
JSON: {"fault": ...} with what went wrong, {"keep": ...} with what a resumed run is to be told as the setting "kept".
"""

import json
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Protocol

from deepspeech_training.reporting.events import Event, read_event

MODULES = {"notify": "notifier", "wandb": "wandb_run", "mlflow": "mlflow_run"}
LONGEST_FAULT = 300


class Receiver(Protocol):
    def take(self, event: Event) -> None: ...

    def close(self, *, has_ended: bool) -> None:
        """Nothing comes any more; not even an end has, where the training was killed."""


def serve(lines: Iterable[str], say: Callable[[Mapping[str, Any]], None]) -> None:
    """Give the events to the receiver that the first line names; what it raises is said, and ends nothing."""
    lines = iter(lines)
    first = json.loads(next(lines))
    settings = first["settings"]
    secrets = sorted(_secrets(settings), key=len, reverse=True)

    def fault(error: Exception) -> None:
        text = " ".join(str(error).split())
        for secret in secrets:
            text = text.replace(secret, "***")
        say({"fault": f"{type(error).__name__}: {text[:LONGEST_FAULT]}" if text else type(error).__name__})

    try:
        module = import_module(f"deepspeech_training.reporting.outside.{MODULES[first['receiver']]}")
        receiver: Receiver = module.receiver(settings, lambda value: say({"keep": value}))
    except Exception as error:
        fault(error)
        return
    status = ""
    for line in lines:
        try:
            event = read_event(json.loads(line))
            status = event.kind
            receiver.take(event)
        except Exception as error:
            fault(error)
    try:
        receiver.close(has_ended=status == "ended")
    except Exception as error:
        fault(error)


def _secrets(value: Any) -> set[str]:
    """All addresses in the settings, and their parts in which passwords and tokens stand."""
    if isinstance(value, Mapping):
        return set().union(*map(_secrets, value.values()))
    if isinstance(value, list):
        return set().union(*map(_secrets, value))
    if not isinstance(value, str) or "://" not in value:
        return set()
    _, _, rest = value.partition("://")
    user, _, _ = rest.rpartition("@")
    return {value, rest, *filter(None, [user, *user.split(":")])}


def main() -> None:
    answers = sys.stdout

    def say(values: Mapping[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    sys.stdout = sys.stderr  # for libraries that print
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # to a whole service: the end of stdin ends this one
        signal.signal(number, signal.SIG_IGN)
    serve(sys.stdin, say)


if __name__ == "__main__":
    main()
