"""The name under which scripts written for version 0.1 import the runtime; it is `deepspeech_training.runtime`."""

from deepspeech_training.runtime import *  # noqa: F403
from deepspeech_training.runtime import __all__  # noqa: F401
