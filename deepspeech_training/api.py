"""The programs as Python functions: `train`, `test` and `export` take the flags by name, as docs/python.md shows.

They do what the commands of the same names do. Errors are exceptions, results are returned instead of printed, and
what a command says on stderr is said there too (log_level=2 leaves the warnings, 3 the errors).
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from deepspeech_training.config import FLAGS, ParsedFlags, parse_flags
from deepspeech_training.config.flag import join_list, value_text
from deepspeech_training.config.groups import DEFAULT_CHECKPOINT_DIR
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.training.session import FinishedRun, carry_out

Argument: TypeAlias = bool | int | float | str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None

_OF_THE_COMMAND_LINE = ("check_voice_data", "show_resources")  # they print something instead of training


def train(**flags: Argument) -> FinishedRun:
    """Train, and test, export and transcribe where the flags ask for it: `deepspeech train` in Python.

    Args:
        flags: those of docs/flags.md by name; lists and paths are taken as such, None as if the flag were not there.
    Raises:
        FlagError: a flag is unknown, has a value that is not allowed, or does not go with the others.
        UserError: anything else that a person can fix.
        KeyboardInterrupt: Ctrl-C; the run is saved, and the same call resumes it.
    """
    return _call("train", flags)


def test(**flags: Argument) -> FinishedRun:
    """Test a checkpoint on test_files; for arguments and errors see `train`."""
    return _call("test", flags, only="test")


def export(**flags: Argument) -> FinishedRun:
    """Write a checkpoint as .tflite into export_dir; for arguments and errors see `train`."""
    return _call("export", flags, only="export")


def train_ipa_model(
    csv_path: str | os.PathLike[str],
    model_save_path: str | os.PathLike[str] | None = None,
    resume_from_checkpoint: bool = False,
    **flags: Argument,
) -> FinishedRun:
    """Train a model that writes how words are pronounced: `train` with task="word_to_ipa".

    Args:
        csv_path: a lexicon, see docs/pronunciation.md.
        model_save_path: folder of the checkpoints; the task's folder in persistent-data/checkpoints by default.
        resume_from_checkpoint: resumes the training that is there, if there is one; else it is set aside.
        flags: those of `train`.
    """
    return _train_words("word_to_ipa", csv_path, model_save_path, resume_from_checkpoint, flags)


def train_word_model(
    csv_path: str | os.PathLike[str],
    model_save_path: str | os.PathLike[str] | None = None,
    resume_from_checkpoint: bool = False,
    **flags: Argument,
) -> FinishedRun:
    """Train a model that writes words from their pronunciations; for arguments and errors see `train_ipa_model`."""
    return _train_words("ipa_to_word", csv_path, model_save_path, resume_from_checkpoint, flags)


def _train_words(
    task: str,
    csv_path: str | os.PathLike[str],
    model_save_path: str | os.PathLike[str] | None,
    resume_from_checkpoint: bool,
    flags: dict[str, Argument],
) -> FinishedRun:
    folder = model_save_path or os.path.join(DEFAULT_CHECKPOINT_DIR, task)
    load = "auto" if resume_from_checkpoint else "init"
    return train(task=task, train_files=[csv_path], checkpoint_dir=folder, load_train=load, **flags)


def _call(name: str, flags: dict[str, Argument], *, only: str = "") -> FinishedRun:
    parsed = _parsed(flags)
    reporting = parsed.config.reporting
    console = Console(level=reporting.log_level, show_progressbar=reporting.show_progressbar)
    shown = {flag: value for flag, value in flags.items() if flag not in FLAGS or not FLAGS[flag].private}
    command = f"deepspeech_training.{name}({', '.join(f'{flag}={value!r}' for flag, value in shown.items())})"
    try:
        with interrupts.taken_over():
            return carry_out(replace(parsed, command_line=command), console, only=only, show=lambda text: None)
    except Interrupted as interrupted:
        if interrupted.exit_code == 130:
            raise KeyboardInterrupt(str(interrupted)) from None
        raise SystemExit(interrupted.exit_code) from None


def _parsed(flags: dict[str, Argument]) -> ParsedFlags:
    parsed = parse_flags([word for name, value in flags.items() for word in _words(name, value)])
    for name in _OF_THE_COMMAND_LINE:
        if name in parsed.given:
            raise FlagError(f"{name}: prints something and trains nothing, so it is for the command line only")
    return parsed


def _words(name: str, value: Argument) -> list[str]:
    """The words of a command line that say the same.

    >>> _words("train_files", ["a.csv", "b.csv"]), _words("shuffle", False), _words("epochs", None)
    (['--train_files=a.csv,b.csv'], ['--shuffle=false'], [])
    """
    if value is None:
        return []
    if isinstance(value, str | int | float):
        texts = [value_text(value)]
    elif isinstance(value, os.PathLike):
        texts = [join_list([os.fspath(value)]) if name in FLAGS and FLAGS[name].type is tuple else os.fspath(value)]
    elif isinstance(value, Iterable):
        items = [item if isinstance(item, str) else os.fspath(item) for item in value]
        texts = items if name in FLAGS and FLAGS[name].repeatable else [join_list(items)]
    else:
        texts = [str(value)]  # such as a number of numpy
    return [f"--{name}={text}" for text in texts]
