"""`deepspeech app`: from recordings to an endpoint: train where there is no model, serve where there is one."""

import argparse
import os
from pathlib import Path

from deepspeech_training.commands import serve
from deepspeech_training.config.private import variable_of
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.reporting.outside.wanted import check

MODEL_VARIABLE = "MODEL"
DEFAULT_DATA = "persistent-data"


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serve the model that lies on the volume; without one train it first, of the data that lies there.",
        allow_abbrev=False,
        epilog="Example: deepspeech app --data persistent-data, with a train.csv in persistent-data/corpora/mine",
    )
    parser.add_argument(
        "--data",
        default=DEFAULT_DATA,
        metavar="DIR",
        help="data, checkpoints, models (default %(default)s)",
    )
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="serve this .tflite or folder of an export, and train nothing; default: $MODEL, else what the volume has",
    )
    parser.add_argument(
        "--name", default="speech", metavar="NAME", help="what a model that is trained is called (default %(default)s)"
    )
    parser.add_argument(
        "--retrain", action="store_true", help="train although there is a model, where data or flags are new"
    )
    parser.add_argument(
        "--train_only", action="store_true", help="end with code 0 when the model is there; serve nothing"
    )
    parser.add_argument("--serve_only", action="store_true", help="never train; wait for a model")
    parser.add_argument(
        "--serve_while_training", action="store_true", help="serve the best checkpoint so far, and say so in its facts"
    )
    parser.add_argument(
        "--exit_on_failure", action="store_true", help="end with the exit code of what fails, instead of trying again"
    )
    parser.add_argument(
        "--stop_s",
        type=float,
        default=100.0,
        metavar="S",
        help="at SIGTERM a training has so long to save (default %(default)g)",
    )
    parser.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="URL",
        help="Apprise URL to notify of failures and when training ends; may be given several times; "
        "default: $DEEPSPEECH_NOTIFY, which keeps tokens out of the list of processes",
    )
    parser.add_argument(
        "--studio",
        action="store_true",
        help="a page at /studio that records a corpus, for whoever has the key; what is recorded is kept in studio/",
    )
    serve.add_options(parser)
    parser.set_defaults(access_log="none")  # health checks come every few seconds, and the log is for the training
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    """Work until SIGTERM (exit code 0) or Ctrl-C (130)."""
    flags.model = flags.model or os.environ.get(MODEL_VARIABLE) or None
    if flags.train_only and flags.serve_only:
        raise FlagError("--train_only and --serve_only: leave one of them out")
    if flags.serve_only and (flags.retrain or flags.serve_while_training):
        raise FlagError("--serve_only trains nothing: leave out --retrain and --serve_while_training")
    if not flags.name.replace("-", "").replace("_", "").isalnum() or not flags.name.isascii():
        raise FlagError(f"--name {flags.name}: letters, digits, - and _ make a name")
    if not Path(flags.data).is_dir():
        raise FlagError(f"--data {flags.data}: there is no such folder (looked for {Path(flags.data).absolute()})")
    notify = tuple(flags.notify or os.environ.get(variable_of("notify"), "").split())
    check({"notify": notify})
    named = Path(flags.model) if flags.model else None
    flags.model = flags.model or flags.data  # what the service is told; what is served is found on the volume
    settings = serve.settings_of(flags)
    from deepspeech_training.app import server
    from deepspeech_training.app.shelf import Shelf
    from deepspeech_training.app.supervisor import Wishes
    from deepspeech_training.app.volume import Volume

    volume = Volume(Path(flags.data))
    wishes = Wishes(
        name=flags.name,
        retrain=flags.retrain,
        train_only=flags.train_only,
        serve_only=flags.serve_only,
        serve_while_training=flags.serve_while_training,
        exit_on_failure=flags.exit_on_failure,
        stop_s=flags.stop_s,
        notify=notify,
    )
    shelf = Shelf(volume, named, settings.scorer)
    return server.run(settings, volume, shelf, wishes, console, has_studio=flags.studio)
