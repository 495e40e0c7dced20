"""Libraries that compute: what they are (`base.py`), and the table of them. Importing it imports none."""

from collections.abc import Mapping

from deepspeech_training.training.backends.base import Library
from deepspeech_training.training.backends.tensorflow import TensorFlow

DEFAULT_BACKEND = "tensorflow"
BACKENDS: Mapping[str, Library] = {"tensorflow": TensorFlow()}
