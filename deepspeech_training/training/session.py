"""One call of the program: a check of everything -> train, test, export, transcribe, in DeepSpeech's order.

Flags, checkpoints, alphabet and every row of every CSV are checked before TensorFlow is imported. An export alone does
not import it.
"""

from collections.abc import Callable
from dataclasses import replace

from deepspeech_training.config import ParsedFlags
from deepspeech_training.console import Console
from deepspeech_training.reporting.console_sink import ConsoleSink, EventConsole
from deepspeech_training.reporting.events import Events
from deepspeech_training.training import announce, text_scorer
from deepspeech_training.training.export import export, with_export_dir
from deepspeech_training.training.run import Run, call_of, prepare
from deepspeech_training.training.source import source_of_evaluation


def carry_out(
    parsed: ParsedFlags,
    console: Console,
    *,
    command: str,
    only: str = "",
    show: Callable[[str], None] | None = None,
) -> None:
    """Do all that the flags ask for.

    Args:
        command: as it was typed, for the session log.
        only: "test" or "export" for a command that does nothing else.
        show: takes reports and the transcript, which go to stdout without it.
    Raises:
        UserError: what a person can mend.
        Interrupted: a signal came.
    """
    if only == "export":
        parsed = replace(parsed, config=with_export_dir(parsed.config))
    events = Events([ConsoleSink(console, log_steps=parsed.config.reporting.log_steps)])
    console = EventConsole(console, events)
    with announce.ending(events):
        for notice in parsed.notices:
            console.warn(notice)
        call = call_of(parsed, only=only, command=command, console=console, events=events)
        if call.work.names == ["text"]:
            text_scorer.build_alone(call)
            return
        checked = prepare(call)
        if call.work.text:
            text_scorer.build(call, checked.alphabet)
        if call.work.computes:
            _compute(checked, show or _print)
        else:
            export(checked, checked.source)


def _compute(run: Run, show: Callable[[str], None]) -> None:
    """What needs TensorFlow, and the export of what has been trained."""
    from deepspeech_training.training import begin
    from deepspeech_training.training.one_shot import infer
    from deepspeech_training.training.testing import test

    machine, task = begin.set_up(run)
    backend, source = None, run.source
    if run.work.train:
        announce.preset(run)
        backend, _ = begin.train(run, task, machine)
        source = source_of_evaluation(run.config.checkpoint, run.call.given, run.folder)
    tests = "test" in run.data.sets
    if tests or run.work.infer:
        backend = begin.backend_for_evaluation(run, task, machine, source, backend)
    if tests:
        test(run, backend, task, machine, show)
    if run.work.export:
        export(run, source)
    if run.work.infer:
        show(infer(run, backend, task))
    if run.cache is not None:
        run.console.info(f"Cache {run.cache.describe()}")


def _print(text: str) -> None:
    print(text, flush=True)  # a report is there when it is made, also where stdout is a file
