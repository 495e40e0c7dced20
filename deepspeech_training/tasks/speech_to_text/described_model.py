"""Flags and a checkpoint's description -> the model of a call, without its weights: alphabet, network, features."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from deepspeech_training.alphabet import Labels
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.source import (
    Source,
    adopted_flags,
    folder_to_evaluate,
    load_folder_of,
    source_of_evaluation,
    source_of_training,
)
from deepspeech_training.config import Config, as_dict
from deepspeech_training.console import Console
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models import model_class
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.tasks.speech_to_text.labels import alphabet_of_run


@dataclass(frozen=True)
class DescribedModel:
    """The model of a call, without its weights; `alphabet_name` says in words where the alphabet comes from."""

    alphabet: Labels
    alphabet_name: str
    network: AcousticModel
    features: FeatureGeometry


def describe_model(config: Config, source: Source, console: Console) -> DescribedModel:
    """The model that a checkpoint and the flags describe.

    Raises:
        FlagError: they contradict each other.
    """
    alphabet, name = alphabet_of_run(config.decoder, config.transfer, source, console)
    data = config.data
    features = FeatureGeometry(data.audio_sample_rate, data.feature_win_len, data.feature_win_step)
    if source.found is None:
        network = model_class(config.geometry.network).from_flags(as_dict(config), num_classes=alphabet.num_classes)
        features = replace(features, n_mfcc=network.n_features)
    else:
        network = replace(source.found.model.network, num_classes=alphabet.num_classes)
        features = source.found.model.features or features
    return DescribedModel(alphabet, name, network, features)


def model_to_check(config: Config, given: Collection[str], console: Console) -> DescribedModel:
    """The model for which a call would check the data; one with new weights where there is no checkpoint."""
    flags = config.checkpoint
    save_folder = CheckpointFolder(flags.save_dir, console)
    folder = load_folder_of(flags, config.data, config.training.relu_clip, console)
    if config.data.train_files:
        source = source_of_training(flags, given, save_folder, folder)
    else:
        folder = folder_to_evaluate(flags, save_folder, folder)
        source = Source("init")
        if folder.has("best") or folder.has("train"):
            source = source_of_evaluation(flags, given, folder)
    continues = source.kind == "resume"
    config = config.replace(**adopted_flags(source, as_dict(config), given, continues=continues, console=console))
    return describe_model(config, source, console)
