"""Spoken commands: a clip's audio -> features -> logits of every frame -> their mean -> which of some words it is."""

from deepspeech_training.tasks.spoken_command.task import SpokenCommand

__all__ = ["SpokenCommand"]
