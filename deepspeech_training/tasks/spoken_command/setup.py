"""Spoken commands as the flags ask for it: classes, network, clips, augmentation; all of it checked."""

from collections import Counter

import numpy as np

from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.checkpoints.source import Source, transfer_of_run
from deepspeech_training.config import Config, as_dict
from deepspeech_training.config.rules import check_layers
from deepspeech_training.data.sample import CheckedData
from deepspeech_training.data.shard_folder import csvs_of_sets
from deepspeech_training.errors import FlagError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models import model_class
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.tasks.base import Order, Prepared
from deepspeech_training.tasks.hearing import augmenter_of_run, cache_of_run, limited
from deepspeech_training.tasks.spoken_command.classes import Classes, classes_of
from deepspeech_training.tasks.spoken_command.clips import CommandSample, checked_commands, labels_of
from deepspeech_training.tasks.spoken_command.task import Listening, SpokenCommand


def prepare(order: Order) -> Prepared:
    """See `tasks.prepare`."""
    config, console = order.config, order.console
    _check_flags(config)
    listening, network = described_model(config, order.source)
    check_layers(config, network.groups)
    fault = network.fault_of_steps(config.export.n_steps) if config.export.export_dir else ""
    if fault:  # else it would be found after the training
        raise FlagError(f"--n_steps {config.export.n_steps}: {fault}")
    transfer = transfer_of_run(config.transfer, order.source, _no_alphabets) if order.trains else None
    noise = _noise(config, listening)
    data = checked_commands(
        config.data,
        trains=order.trains,
        classes=listening.classes,
        features=listening.features,
        longest=listening.longest,
        noise=noise,
        folder=order.folder if order.trains else None,
        console=console,
    )
    data = limited(data, config.limits, config.training.random_seed)
    augmenter = augmenter_of_run(config, listening.features, console) if order.trains else None
    cache = cache_of_run(config.augmentation, listening.features, console)
    task = SpokenCommand(
        listening,
        network,
        class_weights=_class_weights(data, listening.classes, alike=config.commands.class_weights),
        augmenter=augmenter,
        cache=cache,
        noise=noise,
        folder=order.folder,
        console=console,
    )
    recordings = {} if augmenter is None else augmenter.source_fingerprints()
    if noise is not None:
        recordings |= {noise.path: noise.fingerprint()}
    return Prepared(task, config, data, transfer, None, recordings, cache)


def described_model(config: Config, source: Source) -> tuple[Listening, AcousticModel]:
    """The model that a checkpoint and the flags describe, without its weights.

    Raises:
        FlagError: they contradict each other.
    """
    data, wanted = config.data, config.commands.labels
    if source.found is None:
        labels = labels_of(csvs_of_sets({"train": data.train_files})["train"])
        classes = classes_of(wanted, labels, has_noise=bool(config.commands.silence_noise))
        network = model_class(config.geometry.network).from_flags(as_dict(config), num_classes=classes.size)
        features = FeatureGeometry(
            data.audio_sample_rate, data.feature_win_len, data.feature_win_step, network.n_features
        )
        return Listening(classes, features, config.commands.clip_seconds), network
    found = source.found
    classes = Classes(tuple(found.model.described["labels"]))
    if wanted and wanted != classes.commands:
        raise FlagError(
            f"--labels {','.join(wanted)}: the checkpoint was trained with {','.join(classes.commands)}\n"
            f"The checkpoint is in {found.folder.folder}. Leave the flag out, or name another folder with "
            f"{found.flag}, or start over with --load_train init."
        )
    assert found.model.features is not None, "a model of this task hears"
    return Listening(classes, found.model.features, config.commands.clip_seconds), found.model.network


def _check_flags(config: Config) -> None:
    """Refuse the flags of speech to text that mean nothing here."""
    decoder = config.decoder
    for name, is_given in (
        ("alphabet_config_path", decoder.alphabet_config_path),
        ("bytes_output_mode", decoder.bytes_output_mode),
        ("scorer", decoder.scorer_file),
        ("train_scorer", decoder.train_scorer),
        ("leading_blanks", config.training.leading_blanks),
        ("cr_ctc", config.training.cr_ctc),
        ("inter_ctc", config.training.inter_ctc),
        ("voice_data_dir", config.voice.voice_data_dir),
        ("reuse_characters", config.transfer.reuse_characters),
    ):
        if is_given:
            raise FlagError(f"--{name}: not with --task spoken_command; leave it out")


def _no_alphabets() -> tuple:
    raise FlagError("--reuse_characters: not with --task spoken_command, whose models have no alphabet")


def _noise(config: Config, listening: Listening) -> AudioSource | None:
    path = config.commands.silence_noise
    return AudioSource(path, sample_rate=listening.features.sample_rate) if path else None


def _class_weights(data: CheckedData[CommandSample], classes: Classes, *, alike: bool) -> np.ndarray:
    """float32 [classes] with the mean 1 over the training clips: all classes count `alike`, or all clips do."""
    counts = Counter(sample.label for found in data.sets.get("train", ()) for sample in found.samples)
    if not alike or not counts:
        return np.ones(classes.size, np.float32)
    mean = counts.total() / len(counts)
    return np.array([mean / counts[name] if counts[name] else 0.0 for name in classes.names], np.float32)
