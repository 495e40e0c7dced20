"""What a single flag cannot know: whether its file is there, and whether it goes with the others."""

import difflib
import itertools
import math
from collections.abc import Collection, Sequence
from pathlib import Path

from deepspeech_training.atomic_file import check_writable
from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.config.flag import Value
from deepspeech_training.config.groups import DEEPSPEECH_WEIGHTS, FLAGS, Config, as_dict
from deepspeech_training.config.presets import CONFORMER_SIZES, PRESETS, TASK_VALUES
from deepspeech_training.errors import FlagError
from deepspeech_training.models import flags_of_others, model_class, networks_of


def check_files(config: Config) -> None:
    """Check the files that flags name.

    Raises:
        FlagError: a file is missing, or a list has been divided at the comma in the name of a file.
        UserError: an output cannot be written.
    """
    values = as_dict(config)
    for name, flag in FLAGS.items():
        value = values.get(name)
        if not value:
            continue
        if flag.path == "file" and not Path(value).is_file():
            found = "this is a folder, not a file" if Path(value).is_dir() else "no such file"
            raise FlagError(f"--{name} {value}: {found}")
        if flag.path == "files":
            _check_commas(name, value)
        if flag.path == "output":
            check_writable(Path(value))


def _check_commas(name: str, paths: Sequence[str]) -> None:
    """Raise FlagError where two items of a list together are a file, and one alone is none."""
    for first, second in itertools.pairwise(paths):
        whole = f"{first},{second}"
        if not (Path(first).exists() and Path(second).exists()) and Path(whole).exists():
            raise FlagError(
                f"--{name} {first},{second}: a comma divides a list; there is a file {whole!r}\n"
                f"A name with a comma is written in double quotes: --{name} '\"{whole}\"'"
            )


def check_together(config: Config) -> None:
    """Check what a single flag cannot know: the features need windows of whole samples, the export a name."""
    parse_augmentations(config.augmentation.augment)
    if config.export.export_dir:
        _check_export(config)
    decoder = config.decoder
    if decoder.scorer and decoder.scorer_path and decoder.scorer != decoder.scorer_path:
        raise FlagError(
            f"--scorer {decoder.scorer} and --scorer_path {decoder.scorer_path} are two names of one flag: give one"
        )
    if decoder.train_scorer and decoder.scorer_file:
        raise FlagError(f"--scorer {decoder.scorer_file} and --train_scorer: leave one out (--notrain_scorer)")
    if decoder.train_scorer and not decoder.beam_width:
        raise FlagError("--beam_width 0 decodes greedily, which has no use for --train_scorer: leave one of them out")
    if decoder.bytes_output_mode and decoder.alphabet_config_path:
        raise FlagError(
            f"--alphabet_config_path {decoder.alphabet_config_path}: --bytes_output_mode has no alphabet; leave one out"
        )
    if decoder.scorer_file and not decoder.beam_width:
        raise FlagError("--beam_width 0 decodes greedily, which has no use for --scorer: leave one of them out")
    _check_transfer(config)
    rate = config.data.audio_sample_rate
    for name in ("feature_win_len", "feature_win_step"):
        window_ms = getattr(config.data, name)
        if window_ms * rate % 1000:
            whole_ms = 1000 // math.gcd(1000, rate)
            near = max(round(window_ms / whole_ms), 1) * whole_ms
            raise FlagError(
                f"--{name} {window_ms}: {window_ms} ms at --audio_sample_rate {rate} are {window_ms * rate / 1000:g} "
                f"samples, and must be a whole number of them; the nearest is {near} ms"
            )


def _check_transfer(config: Config) -> None:
    transfer = config.transfer
    if transfer.reuse_characters and config.decoder.bytes_output_mode:
        raise FlagError(
            "--reuse_characters with --bytes_output_mode: bytes are no characters; leave one of the two out"
        )
    if transfer.reuse_characters and transfer.drop_source_layers > 1:
        raise FlagError(
            f"--reuse_characters with --drop_source_layers {transfer.drop_source_layers}: the weights of a character "
            "mean nothing above a layer that is new\nLeave one of the two out."
        )


def values_of_task(config: Config, task: str, given: Collection[str]) -> dict[str, Value]:
    """The flags that have another default with this task, with its values: `TASK_VALUES`, and its usual network.

    Args:
        given: flags that a person has set, which keep their values as those of --preset do.
    """
    preset = PRESETS.get(config.training.preset)
    kept = {*given, *(preset.values_of(config.geometry.network) if preset else ())}
    values = {"network": networks_of(task)[0], **TASK_VALUES.get(task, {})}
    return {name: value for name, value in values.items() if name not in kept}


def check_network(config: Config, given: Collection[str]) -> None:
    """Check the flags of the network, once it is known which one it is.

    Raises:
        FlagError: flags that are given are of another network, or those of a conformer do not go together.
    """
    network, task = config.geometry.network, config.training.task
    networks = networks_of(task)
    if network not in networks:
        raise FlagError(f"--network {network}: not with --task {task}, which trains {' or '.join(networks)}")
    of_others = flags_of_others(network) & set(given)
    if "conformer_size" in of_others:
        of_others -= set(CONFORMER_SIZES["s"])  # which it stands for
    if of_others:
        wrong, own = (
            ", ".join(f"--{name}" for name in FLAGS if name in names)
            for names in (of_others, model_class(network).flags)
        )
        raise FlagError(
            f"{wrong}: not with --network {network}, whose own flags are {own}\n"
            f"Leave {'it' if len(of_others) == 1 else 'them'} out, or choose another --network ({', '.join(networks)})."
        )
    geometry = config.geometry
    if network == "conformer" and geometry.heads and geometry.d_model % geometry.heads:
        raise FlagError(f"--heads {geometry.heads}: must divide --d_model {geometry.d_model}")
    if network == "conformer" and geometry.kernel % 2 == 0:
        raise FlagError(f"--kernel {geometry.kernel}: must be odd; {geometry.kernel + 1} is")


def check_layers(config: Config, layers: Sequence[str]) -> None:
    """Check the flags that name or count layers.

    Args:
        layers: of the network, from the input to the output.
    Raises:
        FlagError: there is no such layer, or nothing would be left to train or to take over.
    """
    frozen, dropped = config.transfer.freeze_layers, config.transfer.drop_source_layers
    for name in frozen:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, n=1, cutoff=0.5)
            raise FlagError(
                f"--freeze_layers {name}: must be some of {', '.join(layers)}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
    if set(frozen) == set(layers):
        raise FlagError("--freeze_layers has all layers: there is nothing left to train")
    if layers[0] in frozen and config.geometry.normalise_features:
        raise FlagError(
            f"--normalise_features changes what {layers[0]} is fed with, --freeze_layers keeps it as it is: leave one "
            "out"
        )
    if dropped >= len(layers):
        raise FlagError(
            f"--drop_source_layers {dropped}: the network has {len(layers)} layers, so it must be at most "
            f"{len(layers) - 1}"
        )


def _check_export(config: Config) -> None:
    export = config.export
    if not export.export_tflite:
        raise FlagError(
            "--noexport_tflite: models are exported as .tflite only; DeepSpeech's .pb and .pbmm need TensorFlow 1\n"
            "Both packages of DeepSpeech's and Coqui STT's clients for .tflite load it (docs/export.md)."
        )
    if export.export_batch_size != 1:
        raise FlagError(f"--export_batch_size {export.export_batch_size}: the clients feed one stream, so it must be 1")
    for name in ("export_file_name", "export_author_id", "export_model_name", "export_model_version"):
        text = getattr(export, name, None) or getattr(config.card, name, "")
        if not text or "/" in text or "\0" in text or text.startswith("."):
            raise FlagError(f"--{name} {text!r}: it is part of a file name, so it cannot be empty, hidden or have a /")


def notices_on(config: Config) -> list[str]:
    """Lines on flags that have no effect beside the others."""
    notices = []
    sets_aside = config.training.task in ("word_to_ipa", "ipa_to_word") and config.data.dev_share
    if config.data.train_files and not config.data.dev_files and not sets_aside:
        for name, is_given in (
            ("early_stop", config.early_stop.early_stop),
            (
                "lr_schedule plateau" if config.optimizer.lr_schedule == "plateau" else "reduce_lr_on_plateau",
                config.reduces_rate_on_plateau,
            ),
        ):
            if is_given:
                notices.append(f"--{name} has no effect without --dev_files: it watches the validation loss")
    trains_on_folder = config.voice.voice_data_dir and config.voice.voice_mode != "text"
    if config.augmentation.augment and not (config.data.train_files or trains_on_folder):
        notices.append("--augment has no effect without --train_files: only training clips are augmented")
    for name in ("feature_cache_gb", "cache_for_epochs"):
        if getattr(config.augmentation, name) != FLAGS[name].default and not config.augmentation.feature_cache:
            notices.append(f"--{name} has no effect without --feature_cache")
    warmup, epochs = config.optimizer.warmup_epochs, config.training.epochs
    if config.data.train_files and warmup > epochs:
        notices.append(f"--warmup_epochs {warmup:g} is more than --epochs {epochs}: --learning_rate is never reached")
    if config.transfer.reuse_characters and config.transfer.drop_source_layers:
        notices.append("--drop_source_layers 1 has no effect beside --reuse_characters, which replaces that layer")
    if config.export.export_zip and not config.export.export_dir:
        notices.append("--export_zip has no effect without --export_dir")
    for name, unasked in DEEPSPEECH_WEIGHTS.items():
        if getattr(config.decoder, name) not in (None, unasked) and not (
            config.decoder.scorer_file or config.decoder.train_scorer
        ):
            notices.append(f"--{name} has no effect without --scorer")
    if config.batches.batch_seconds and config.batches.train_batch_size != 1:
        notices.append("--train_batch_size has no effect beside --batch_seconds, which sizes the training batches")
    return notices
