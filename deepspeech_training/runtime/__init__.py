"""Exported models at work: DeepSpeech's Python API on LiteRT, without TensorFlow.

>>> from deepspeech_training.runtime import version
>>> version() == __import__("deepspeech_training").__version__
True
"""

from deepspeech_training.decoding.language_model import ScorerError
from deepspeech_training.runtime.commands import SpokenCommandModel
from deepspeech_training.runtime.model import Model, ScorerNotEnabled
from deepspeech_training.runtime.model_file import ModelError
from deepspeech_training.runtime.stream import CandidateTranscript, Metadata, Stream, StreamError, TokenMetadata
from deepspeech_training.version import VERSION

__all__ = [
    "CandidateTranscript",
    "Metadata",
    "Model",
    "ModelError",
    "ScorerError",
    "ScorerNotEnabled",
    "SpokenCommandModel",
    "Stream",
    "StreamError",
    "TokenMetadata",
    "version",
]


def version() -> str:
    """The version of this package."""
    return VERSION
