"""A checkpoint and --test_files -> a report for each file, on stdout, and --test_output_file."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.reporting.events import SetTested
from deepspeech_training.tasks.base import Report
from deepspeech_training.training.backends.base import Backend, Machine
from deepspeech_training.training.run import Run


def test(run: Run, backend: Backend, machine: Machine, show: Callable[[str], None]) -> list[Report]:
    """Test on each CSV; `show` gets the text of each report as soon as there is one."""
    from deepspeech_training.training.begin import loader_of
    from deepspeech_training.training.evaluate import examine

    config, reports = run.config, []
    size = config.batches.test_batch_size * len(machine.devices)
    with loader_of(run, static_shapes=machine.on_gpu) as loader, run.task.examination() as examination:
        for found in run.data.sets["test"]:
            batches = -(-len(found.samples) // size)
            with run.console.progress(f"Testing on {found.name}", total=batches, unit="batches") as progress:
                results = examine(
                    backend,
                    examination,
                    loader,
                    found.samples,
                    batch_size=size,
                    reverse=config.limits.reverse_test,
                    on_batch=progress.update,
                    on_fault=lambda sample, reason: run.console.warn(f"{sample.id} ({sample.path}) {reason}"),
                )
            report = examination.report(found.csv_path, results)
            show(report.to_text(config.reporting.report_count))
            loss = report.loss if math.isfinite(report.loss) else None
            run.events.emit(SetTested(found.csv_path, len(results), loss, report.figures(), judged_by=run.task.figures))
            reports.append(report)
    if config.reporting.test_output_file:
        written = [entry for report in reports for entry in report.as_json()]
        text = json.dumps(written, ensure_ascii=False, indent=1) + "\n"
        write_atomically(Path(config.reporting.test_output_file), [text.encode()])
    return reports
