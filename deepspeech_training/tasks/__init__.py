"""Kinds of models: what the program knows of one (`base.py`), and the table of them. A task is a folder here."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepspeech_training.tasks.base import Order, Prepared

# By the value of --task: module and function that puts the task together, imported when it is asked for.
TASKS = {
    "speech_to_text": "deepspeech_training.tasks.speech_to_text.setup:prepare",
    "word_to_ipa": "deepspeech_training.tasks.pronunciation.setup:prepare",
    "ipa_to_word": "deepspeech_training.tasks.pronunciation.setup:prepare",
    "spoken_command": "deepspeech_training.tasks.spoken_command.setup:prepare",
}


def prepare(order: "Order") -> "Prepared":
    """Put together the task that the flags ask for.

    Raises:
        UserError: what it works on, or what is asked of it, is not as it must be.
    """
    module, function = TASKS[order.config.training.task].split(":")
    return getattr(importlib.import_module(module), function)(order)
