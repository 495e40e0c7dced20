"""Shows events on a console as lines and bars, and makes events of the lines of a console."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from deepspeech_training.console import DEBUG, ERROR, INFO, WARN, Console, Progress
from deepspeech_training.reporting.events import (
    EpochBegun,
    EpochDone,
    ErrorNote,
    Event,
    Events,
    Finished,
    Note,
    StepDone,
    TrainingOver,
    ValidationBegun,
    ValidationStepDone,
    WarningNote,
)
from deepspeech_training.reporting.messages import words


class EventConsole(Console):
    """A console whose lines are events, so that every sink has them; progress is shown on a real console."""

    def __init__(self, console: Console, events: Events):
        super().__init__(level=console.level, stream=console.stream)
        self.shows_bar = console.shows_bar
        self._events, self._console = events, console

    def say(self, level: int, message: str) -> None:
        if level == DEBUG:
            self._console.debug(message)
        else:
            self._events.emit({INFO: Note, WARN: WarningNote, ERROR: ErrorNote}[level](message))

    @contextmanager
    def progress(self, what: str, *, total: int, unit: str, start: int = 0) -> Iterator[Progress]:
        with self._console.progress(what, total=total, unit=unit, start=start) as progress:
            yield progress


class ConsoleSink:
    """Shows events as lines and bars.

    Args:
        console: where they go.
        log_steps: where no bar is drawn, a line after each so many steps; 0 for none but the console's own.
    """

    def __init__(self, console: Console, *, log_steps: int = 0):
        self._console, self._log_steps = console, log_steps
        self._progress: Progress | None = None
        self._bar = ExitStack()  # holds the progress open

    def take(self, event: Event) -> None:
        match event:
            case EpochBegun():
                what = f"Epoch {event.epoch + 1} of {event.epochs}"
                self._begin_progress(what, event.batches, event.step_in_epoch)
            case StepDone():
                self._show_step(event)
            case ValidationBegun():
                self._begin_progress(event.what, event.batches, event.done)
            case ValidationStepDone() if self._progress is not None:
                self._progress.update()
            case EpochDone() | Finished() | TrainingOver():
                self._end_progress()
        for level, message in words(event):
            self._console.say(level, message)

    def close(self) -> None:
        self._end_progress()

    def _show_step(self, event: StepDone) -> None:
        if self._progress is None:
            return
        note = f"loss {event.loss:.3f}, {event.speed:,.0f} {event.unit}"
        self._progress.update(note=note)
        if self._log_steps and not self._console.shows_bar and event.step % self._log_steps == 0:
            self._console.info(f"Step {event.step:,}: {note}")

    def _begin_progress(self, what: str, total: int, start: int) -> None:
        self._end_progress()
        self._progress = self._bar.enter_context(self._console.progress(what, total=total, unit="batches", start=start))

    def _end_progress(self) -> None:
        self._bar.close()
        self._progress = None
