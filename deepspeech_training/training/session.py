"""One call of the program: a check of everything -> train, test, export, transcribe, in DeepSpeech's order.

Flags, checkpoints, alphabet and every row of every CSV are checked before TensorFlow is imported. An export alone does
not import it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deepspeech_training.checkpoints.source import source_of_evaluation
from deepspeech_training.config import ParsedFlags
from deepspeech_training.console import ERROR, Console, print_result
from deepspeech_training.machine.cluster import find_cluster
from deepspeech_training.reporting.console_sink import ConsoleSink, EventConsole
from deepspeech_training.reporting.events import Events
from deepspeech_training.reporting.session_log import SessionLog
from deepspeech_training.tasks.base import Report, Transcribes
from deepspeech_training.training import announce, outside, text_scorer
from deepspeech_training.training.backends.base import Backend
from deepspeech_training.training.export import export, with_export_dir
from deepspeech_training.training.run import Call, Run, call_of, of_another_worker, prepare, work_of


@dataclass(frozen=True)
class FinishedRun:
    """What came of a call; None and empty for what it did not do.

    Args:
        checkpoint_dir: where the checkpoints are that were saved or used.
        log: the session log of this call; None where none could be kept.
        began_with: new weights, or those of a source, in words.
        history: the figures of each epoch of the training, those before a resume too, as events.jsonl has them.
        best_epoch: counts from 0, as "epoch" in `history` does.
        best_figures: the loss and the error rates of that epoch on the dev set, by name.
        best_checkpoint: the state file of the best checkpoint.
        last_checkpoint: that of the last one.
        stopped: why the training has ended.
        reports: of each CSV of test_files: `wer`, `cer`, `loss`, `results`.
        exported: the exported model.
        scorer: the scorer that text mode has built.
        transcript: of one_shot_infer.
    """

    checkpoint_dir: Path | None = None
    log: Path | None = None
    began_with: str = ""
    history: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    best_epoch: int | None = None
    best_figures: Mapping[str, float] = field(default_factory=dict)
    best_checkpoint: Path | None = None
    last_checkpoint: Path | None = None
    stopped: str | None = None
    reports: Sequence[Report] = field(default=(), repr=False)
    exported: Path | None = None
    scorer: Path | None = None
    transcript: str | None = None


def carry_out(
    parsed: ParsedFlags,
    console: Console,
    *,
    only: str = "",
    show: Callable[[str], None] | None = None,
) -> FinishedRun:
    """Do all that the flags ask for.

    Args:
        only: "test" or "export" for a command that does nothing else.
        show: takes reports and the transcript, which go to stdout without it.
    Raises:
        UserError: what a person can fix.
        Interrupted: a signal came.
    """
    if only == "export":
        parsed = replace(parsed, config=with_export_dir(parsed.config))
    trains = not only and work_of(parsed.config).train
    cluster = find_cluster(parsed.config.cluster, os.environ) if trains else None
    if cluster is not None:
        console.info(cluster.line())
        if not cluster.is_first:
            parsed = replace(parsed, config=of_another_worker(parsed.config))
            console = Console(level=ERROR, show_progressbar=False)
    events = Events([ConsoleSink(console, log_steps=parsed.config.reporting.log_steps)])
    console = EventConsole(console, events)
    with announce.ending(events):
        for notice in parsed.notices:
            console.warn(notice)
        call = call_of(parsed, only=only, console=console, events=events, cluster=cluster)
        try:
            tell = outside.wanted(call.config) if call.is_first and (call.work.train or call.work.test) else {}
            if call.work.train:
                outside.add_notifications(call, tell)
            return _done(call, tell, show or (lambda text: print_result(text, console)))
        finally:
            call.folder.unlock()


def _done(call: Call, tell: Mapping[str, Any], show: Callable[[str], None]) -> FinishedRun:
    if call.work.names == ["text"]:
        scorer, log = text_scorer.build_alone(call)
        return FinishedRun(log=_path_of(log), scorer=scorer)
    run = prepare(call)
    outside.add_trackers(run, tell)
    used = run.folder if run.work.train else run.source.checkpoint.folder
    finished = FinishedRun(checkpoint_dir=used.folder, log=_path_of(run.log))
    if run.work.text:
        finished = replace(finished, scorer=text_scorer.build(call, run.prepared.labels))
    if not run.work.computes:
        return replace(finished, exported=export(run, run.source))
    return _computed(run, finished, show)


def _computed(run: Run, finished: FinishedRun, show: Callable[[str], None]) -> FinishedRun:
    """What needs TensorFlow, and the export of what has been trained."""
    from deepspeech_training.training import begin
    from deepspeech_training.training.testing import test

    machine = begin.set_up(run)
    backend: Backend | None = None
    source = run.source
    if run.work.train:
        announce.preset(run)
        backend, state, transfer = begin.train(run, machine)
        source = source_of_evaluation(run.config.checkpoint, run.call.given, run.folder)
        finished = replace(
            finished,
            began_with=announce.what_it_began_with(transfer),
            history=state.history,
            best_epoch=state.schedule.best_epoch,
            best_figures=state.schedule.best_figures or {},
            best_checkpoint=next(iter(run.folder.state_files("best")), None),
            last_checkpoint=next(iter(run.folder.state_files("train")), None),
            stopped=state.stopped,
        )
        if not run.call.is_first:
            return finished
    tests = "test" in run.data.sets
    if tests or run.work.infer:
        backend = begin.backend_for_evaluation(run, machine, source, backend)
        if tests:
            finished = replace(finished, reports=test(run, backend, machine, show))
    if run.work.export:
        finished = replace(finished, exported=export(run, source))
    if run.work.infer:
        assert backend is not None and isinstance(run.task, Transcribes), "this was seen to before"
        evaluate, path = backend.evaluate_step, run.config.inference.one_shot_infer
        transcript = run.task.transcribe(path, lambda batch: evaluate(batch)[1])
        show(transcript)
        finished = replace(finished, transcript=transcript)
    cache = run.prepared.cache
    if cache is not None:
        run.console.info(f"Cache {cache.describe()}")
    return finished


def _path_of(log: SessionLog) -> Path | None:
    return None if log.fault else log.path
