"""Flags and a checkpoint's description -> the model of a call, without its weights: alphabet, network, features."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import folder_to_load
from deepspeech_training.config import FLAGS, Config, as_dict
from deepspeech_training.console import Console
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models import model_class
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.training.labels import Labels, alphabet_of_run
from deepspeech_training.training.source import (
    Folder,
    Source,
    adopted_flags,
    folder_to_evaluate,
    source_of_evaluation,
    source_of_training,
)


@dataclass(frozen=True)
class DescribedModel:
    """The model of a call, without its weights.

    Args:
        config: with the flags that the checkpoint decides.
        alphabet_name: where it comes from, in words.
    """

    config: Config
    alphabet: Labels
    alphabet_name: str
    network: AcousticModel
    features: FeatureGeometry


def describe_model(
    config: Config, given: Collection[str], source: Source, *, continues: bool, console: Console
) -> DescribedModel:
    """The model that a checkpoint and the flags describe.

    Raises:
        FlagError: they contradict each other.
    """
    config = config.replace(**adopted_flags(source, as_dict(config), given, continues=continues, console=console))
    _say_what_is_taken_for_granted(source, as_dict(config), console)
    alphabet, name = alphabet_of_run(config.decoder, config.transfer, source, console)
    features = _features(config)
    if source.description is None:
        network = model_class(config.geometry.network).from_flags(as_dict(config), num_classes=alphabet.num_classes)
        features = replace(features, n_mfcc=network.n_features)
    else:
        network = replace(source.description.network, num_classes=alphabet.num_classes)
        features = source.description.features or features
    return DescribedModel(config, alphabet, name, network, features)


def model_to_check(config: Config, given: Collection[str], console: Console) -> DescribedModel:
    """The model for which a call would check the data; one with new weights where there is no checkpoint."""
    save_folder = CheckpointFolder(config.checkpoint.save_dir, console)
    folder = named_folder(config, console)
    if config.data.train_files:
        source = source_of_training(config.checkpoint, given, save_folder, folder)
    else:
        folder = folder_to_evaluate(config.checkpoint, save_folder, folder)
        source = Source("init")
        if folder.has("best") or folder.has("train"):
            source = source_of_evaluation(config.checkpoint, given, folder)
    return describe_model(config, given, source, continues=source.kind == "resume", console=console)


def _features(config: Config) -> FeatureGeometry:
    return FeatureGeometry(config.data.audio_sample_rate, config.data.feature_win_len, config.data.feature_win_step)


def named_folder(config: Config, console: Console) -> Folder:
    folder = CheckpointFolder(config.checkpoint.load_dir, console)
    return folder_to_load(folder, _features(config), config.training.relu_clip)


def _say_what_is_taken_for_granted(source: Source, flags: Mapping[str, Any], console: Console) -> None:
    """A checkpoint of DeepSpeech's trainer may not say its sample rate and windows: what the flags say counts."""
    unsaid = () if source.description is None else source.description.unsaid
    if not unsaid:
        return
    values = {name: flags[name] for name in unsaid}
    console.info(
        f"{source.path} does not say {', '.join(f'--{name}' for name in unsaid)}; taken to be "
        f"{', '.join(map(str, values.values()))}"
    )
    others = {name: FLAGS[name].default for name, value in values.items() if value != FLAGS[name].default}
    if others:
        console.warn(
            "DeepSpeech's own value, with which most of its checkpoints were trained, is "
            + ", ".join(f"--{name} {value}" for name, value in others.items())
            + ": weights know nothing of other features than they were trained with"
        )
