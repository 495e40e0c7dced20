"""Train small streaming speech-to-text models from DeepSpeech-style CSVs, on TensorFlow 2 and Keras 3.

Importing the package imports neither TensorFlow nor Keras; a run does so when its flags and data are checked.

    import deepspeech_training as ds

    run = ds.train(train_files="train.csv", dev_files="dev.csv", n_hidden=512, checkpoint_dir="checkpoints/first")
    ds.test(test_files="test.csv", checkpoint_dir=run.checkpoint_dir).reports[0].wer
    exported = ds.export(checkpoint_dir=run.checkpoint_dir, export_dir="exports/first").exported
    ds.Model(exported).stt(audio)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepspeech_training.version import VERSION as __version__

if TYPE_CHECKING:
    from deepspeech_training.api import export, test, train, train_ipa_model, train_word_model
    from deepspeech_training.errors import FlagError, UserError
    from deepspeech_training.runtime import Model
    from deepspeech_training.tasks.pronunciation.loading import load_pronouncer
    from deepspeech_training.training.session import FinishedRun

__all__ = [
    "FinishedRun",
    "FlagError",
    "Model",
    "UserError",
    "__version__",
    "export",
    "load_pronouncer",
    "test",
    "train",
    "train_ipa_model",
    "train_word_model",
]

_HOMES = {
    "train": "api",
    "test": "api",
    "export": "api",
    "train_ipa_model": "api",
    "train_word_model": "api",
    "load_pronouncer": "tasks.pronunciation.loading",
    "FinishedRun": "training.session",
    "Model": "runtime",
    "FlagError": "errors",
    "UserError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: most programs need only a part."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
