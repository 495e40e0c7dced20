"""Networks: what they are (`base.py`), and the table of them. They know neither files nor flags.

A network is a folder here, a line in `MODELS` and a word in `NETWORKS`; importing it needs no Keras.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepspeech_training.models.base import AcousticModel

DEFAULT_NETWORK = "deepspeech"
# By the value of --network: module and class, imported when a network is asked for, as flags are read without numpy.
MODELS = {
    "deepspeech": "deepspeech_training.models.deepspeech:DeepSpeech",
    "conformer": "deepspeech_training.models.conformer:Conformer",
    "transformer": "deepspeech_training.models.transformer:Transformer",
    "lstm": "deepspeech_training.models.lstm:Lstm",
    "ds_tc_resnet": "deepspeech_training.models.ds_tc_resnet:DsTcResNet",
}

# By the value of --task: the networks that it trains, its usual one first. A task that is not here takes all of them.
NETWORKS = {
    "speech_to_text": ("deepspeech", "conformer"),
    "word_to_ipa": ("transformer", "lstm"),
    "ipa_to_word": ("transformer", "lstm"),
    "spoken_command": ("ds_tc_resnet", "deepspeech", "conformer"),
}


def networks_of(task: str) -> tuple[str, ...]:
    """The networks that a task trains, its usual one first.

    >>> networks_of("speech_to_text")[0]
    'deepspeech'
    """
    return NETWORKS.get(task, tuple(MODELS))


def model_class(name: str) -> "type[AcousticModel]":
    """The class of a network in MODELS."""
    module, attribute = MODELS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def network_of(description: Mapping[str, Any]) -> "AcousticModel":
    """The network that a checkpoint describes; one that does not say its name is from before there were others.

    Raises:
        KeyError, TypeError: it is no description of a network that is known here.

    >>> network_of({"num_classes": 29, "n_hidden": 100}).num_parameters
    163129
    """
    fields = dict(description)
    return model_class(fields.pop("name", DEFAULT_NETWORK)).from_description(fields)


def flags_of_others(name: str) -> set[str]:
    """The flags that other networks than this one have of their own.

    >>> sorted(flags_of_others("conformer"))[-2:]
    ['n_hidden', 'relu_clip']
    """
    others = [model_class(other).flags for other in MODELS if other != name]
    return set().union(*others) - model_class(name).flags
