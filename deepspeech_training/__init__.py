"""Train small streaming speech-to-text models from DeepSpeech-style CSVs, on TensorFlow 2 and Keras 3.

Importing the package imports neither TensorFlow nor Keras; a run does so when its flags and data are checked.
"""

from deepspeech_training.version import VERSION as __version__

__all__ = ["__version__"]
