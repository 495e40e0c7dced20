"""A checkpoint -> the folder of an export, without TensorFlow: after a training, or alone."""

import os
from pathlib import Path

from deepspeech_training.checkpoints.source import Source
from deepspeech_training.config import Config
from deepspeech_training.data.sample_list import limit_fairly
from deepspeech_training.reporting.events import Exported
from deepspeech_training.tasks.base import Exports
from deepspeech_training.training import announce
from deepspeech_training.training.run import Run


def export(run: Run, source: Source) -> Path:
    """Write the checkpoint of `source` into --export_dir, compared on clips of --test_files; -> the model's path.

    Raises:
        UserError: it answers otherwise than the checkpoint; nothing is written then.
    """
    task, exporter, found = run.task, run.call.exporter, source.checkpoint
    assert exporter is not None and isinstance(task, Exports), "they were looked for"
    checkpoint = found.load()
    run.console.info(f"Exports {checkpoint.path}")
    if not run.work.train:  # a training has said so at its end
        announce.unfinished_model(found, checkpoint.model, run.console)
    samples = limit_fairly(run.samples("test"), task.num_compared, run.config.training.random_seed)
    written = exporter.write(task.exported(checkpoint, samples, run.config, run.console))
    run.events.emit(Exported(str(written), str(checkpoint.path)))
    return Path(written)


def with_export_dir(config: Config) -> Config:
    """What an export alone makes of --output_dir without --export_dir."""
    if not config.checkpoint.output_dir or config.export.export_dir:
        return config
    return config.replace(export_dir=os.path.join(config.checkpoint.output_dir, "exports"))
