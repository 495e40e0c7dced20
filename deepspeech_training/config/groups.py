"""All flags, in their groups: a field of a group IS a flag, and parser, --help, flags.txt and docs/flags.md follow.

A new flag is one field here, with all that is to be known of it (see `Flag`).
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deepspeech_training.config.flag import Flag, Value, flag, value_text
from deepspeech_training.config.presets import CONFORMER_SIZES, PRESETS
from deepspeech_training.models import DEFAULT_NETWORK, MODELS, flags_of_others

DEFAULT_CHECKPOINT_DIR = "persistent-data/checkpoints"
DEFAULT_CACHE_DIR = "persistent-data/caches/audio"
DEEPSPEECH_WEIGHTS = {"lm_alpha": 0.931289039105002, "lm_beta": 1.1834137581510284}  # in all flags.txt that it writes
MODES = ("gpu", "cpu", "mixed")


@dataclass(frozen=True)
class DataFlags:
    train_files: tuple[str, ...] = flag(
        (), "CSV files to train on, or folders of packed ones; without any, nothing is trained", path="files"
    )
    dev_files: tuple[str, ...] = flag(
        (),
        "CSV files to validate on after each epoch, reported one by one; they decide which checkpoint is the best",
        path="files",
    )
    test_files: tuple[str, ...] = flag(
        (), "CSV files to test on after training; each gets a report of WER and CER", quiet=True, path="files"
    )
    metrics_files: tuple[str, ...] = flag(
        (),
        "CSV files whose loss is reported after each validation, without an effect on which checkpoint is best",
        path="files",
    )
    dev_share: float = flag(
        0.05,
        "of word_to_ipa and ipa_to_word without --dev_files, the share of the words of --train_files that is set aside "
        "for validation",
        zero="no validation",
        at_least=0,
        below=1,
        fixed_in_a_run=True,
    )
    on_bad_row: str = flag(
        "fail",
        "what to do with rows that cannot be used (no such file, a character that is not in the alphabet ...): fail "
        "says which they are and stops before training, drop says which they are and continues without them",
        choices=("fail", "drop"),
    )
    feature_win_len: int = flag(
        32,
        "length of the window that one frame of features is made of",
        unit="ms",
        at_least=1,
        fixed_by_weights=("features", "win_len_ms"),
    )
    feature_win_step: int = flag(
        20,
        "time from one frame of features to the next",
        unit="ms",
        at_least=1,
        fixed_by_weights=("features", "win_step_ms"),
    )
    audio_sample_rate: int = flag(
        16000,
        "sample rate that the model works at; audio of another rate is resampled",
        unit="Hz",
        at_least=4000,
        fixed_by_weights=("features", "sample_rate"),
    )


@dataclass(frozen=True)
class AugmentFlags:
    augment: tuple[str, ...] = flag(
        (),
        "augment the training clips: name[p=0.5,parameter=value], see docs/augmentations.md; can be given several "
        "times, and all of them are applied in that order",
        unit="name[...]",
        repeatable=True,
        describes_training=True,
    )
    feature_cache: str = flag(
        "",
        f"keep decoded and resampled audio in this folder, for later epochs and other runs; --feature_cache without a "
        f"folder (in YAML true) is {DEFAULT_CACHE_DIR}, --nofeature_cache is none. It is found by the "
        "content of a file, and augmented after it is read",
        alone=DEFAULT_CACHE_DIR,
        quiet=True,
        path="folder",
    )
    feature_cache_gb: float = flag(
        50.0, "how large that folder may become; then nothing more is stored in it", unit="GB", above=0, quiet=True
    )
    cache_for_epochs: int = flag(
        0, "decode all clips again after every so many epochs", unit="epochs", zero="never", at_least=0, quiet=True
    )


@dataclass(frozen=True)
class VoiceFlags:
    voice_mode: str = flag(
        "auto",
        "what to train: voice, the acoustic model, from --train_files or --voice_data_dir; text, a language model and "
        "the scorer of it, from --text_data; auto looks at what there is, and says what it takes",
        choices=("voice", "text", "auto"),
        quiet=True,
    )
    voice_data_dir: str = flag(
        "",
        "folder of recordings (wav, mp3, flac, ogg, opus) with transcripts, searched with all below it; the CSVs of it "
        "are made in the checkpoint folder, a tenth each for dev and test",
        path="folder",
    )
    check_voice_data: bool = flag(
        False,
        "look at --voice_data_dir, print what is there and what is missing to train, and do nothing else",
        quiet=True,
    )
    text_data: tuple[str, ...] = flag(
        (), "text files, folders of them and CSVs to build a scorer of; .gz is unpacked", quiet=True, path="files"
    )


@dataclass(frozen=True)
class LimitFlags:
    limit_train: int = flag(0, "use at most this many training clips", unit="clips", zero="all", at_least=0)
    limit_dev: int = flag(
        0, "use at most this many validation clips of each file", unit="clips", zero="all", at_least=0
    )
    limit_test: int = flag(
        0, "use at most this many test clips of each file", unit="clips", zero="all", at_least=0, quiet=True
    )
    reverse_train: bool = flag(False, "order the training clips from long to short instead of from short to long")
    reverse_dev: bool = flag(False, "order the validation clips from long to short instead of from short to long")
    reverse_test: bool = flag(
        False, "order the test clips from long to short instead of from short to long", quiet=True
    )
    shuffle: bool = flag(
        True, "give every epoch its own order; --noshuffle is DeepSpeech's order, from short to long in every epoch"
    )


@dataclass(frozen=True)
class BatchFlags:
    train_batch_size: int = flag(
        1, "clips in a training batch, for each device", unit="clips", at_least=1, describes_training=True
    )
    dev_batch_size: int = flag(1, "clips in a validation batch, for each device", unit="clips", at_least=1)
    test_batch_size: int = flag(1, "clips in a test batch, for each device", unit="clips", at_least=1, quiet=True)
    batch_seconds: float = flag(
        0.0,
        "fill each training batch with this much audio, padding counted, for each device, instead of with "
        "--train_batch_size clips: many short clips or a few long ones",
        unit="seconds",
        zero="off, --train_batch_size counts",
        at_least=0,
        describes_training=True,
    )
    skip_batch_test: bool = flag(
        False,
        "do not try the batch of the longest clips before training, which shows at once whether memory suffices",
        quiet=True,
    )


@dataclass(frozen=True)
class TrainingFlags:
    task: str = flag(
        "speech_to_text",
        "what is trained: speech_to_text; spoken_command, which of some words a clip is, see docs/commands.md; "
        "word_to_ipa and ipa_to_word, how words are pronounced and back, see docs/pronunciation.md",
        fixed_by_weights=("task", "name"),
    )
    preset: str = flag(
        "none",
        "values that suit an amount of training data, for all these flags that are not given: "
        f"{', '.join(f'--{name}' for name in PRESETS['tiny'].values)}; with --network conformer "
        f"{', '.join(f'--{name}' for name in PRESETS['tiny'].conformer)}. docs/training.md has them. "
        + "; ".join(f"{name}: {preset.amount}" for name, preset in PRESETS.items()),
        choices=("none", *PRESETS),
    )
    epochs: int = flag(
        75,
        "passes over the training clips; counts the whole run, so a resumed run does only those that are left",
        unit="epochs",
        zero="no training",
        at_least=0,
    )
    dropout_rate: float = flag(
        0.05,
        "share of the outputs of layer 1 that is dropped in training; of conformer, of what each part of a block adds",
        zero="no dropout",
        at_least=0,
        below=1,
        describes_training=True,
    )
    dropout_rate2: float = flag(
        -1.0,
        "the same for layer 2",
        default_is="-1, as --dropout_rate",
        at_least=0,
        below=1,
        special=-1,
        describes_training=True,
    )
    dropout_rate3: float = flag(
        -1.0,
        "the same for layer 3",
        default_is="-1, as --dropout_rate",
        at_least=0,
        below=1,
        special=-1,
        describes_training=True,
    )
    dropout_rate6: float = flag(
        -1.0,
        "the same for layer 5, the one after the LSTM (it is 6 in DeepSpeech's flags too)",
        default_is="-1, as --dropout_rate",
        at_least=0,
        below=1,
        special=-1,
        describes_training=True,
    )
    label_smoothing: float = flag(
        0.1,
        "of word_to_ipa and ipa_to_word, the share of each symbol that is wanted which is spread over all of them",
        zero="no",
        at_least=0,
        below=1,
        describes_training=True,
    )
    relu_clip: float = flag(
        20.0, "outputs of the dense layers are clipped to this", above=0, fixed_by_weights=("network", "relu_clip")
    )
    max_grad_norm: float = flag(
        0.0,
        "scale the gradient of a step down to this norm if it is larger",
        zero="never",
        at_least=0,
        describes_training=True,
    )
    leading_blanks: int = flag(
        0,
        "train without letters in so many first frames of a clip, as far as its transcript leaves room: else a network "
        "may never learn the first letter of clips that begin with silence. Take 9, what the context sees, there, and "
        "none where clips are cut right before the first sound",
        unit="frames",
        zero="letters anywhere",
        at_least=0,
        describes_training=True,
    )
    cr_ctc: float = flag(
        0.0,
        "consistency-regularised CTC: train on two views of each clip, which differ by dropout and by masks, and add "
        "this times how much what is written of one differs from the other; 0.2 is usual. A step takes twice as long",
        zero="one view",
        at_least=0,
        describes_training=True,
    )
    inter_ctc: float = flag(
        0.0,
        "share of the CTC loss of what a conformer would write after half of its blocks in the training loss; 0.3 is "
        "usual",
        zero="no intermediate CTC",
        at_least=0,
        below=1,
        describes_training=True,
    )
    random_seed: int = flag(
        4568, "seed of the initial weights, the order of the clips, dropout and augmentation", at_least=0
    )


@dataclass(frozen=True)
class CommandFlags:
    labels: tuple[str, ...] = flag(
        (),
        "commands that a model of --task spoken_command tells apart; rows with another label become _unknown_",
        default_is="the checkpoint's, without one all labels of --train_files",
        quiet=True,
    )
    class_weights: bool = flag(True, "let all classes of commands count alike in training, however many clips each has")
    silence_noise: str = flag(
        "",
        "recordings without speech, a folder, a CSV or a file, of which clips of the class _silence_ are cut, as many "
        "as the other classes have",
        path="folder",
    )
    other_speech_files: tuple[str, ...] = flag(
        (),
        "CSV files of speech without the commands: the export then stores the threshold that keeps the commands of "
        "--dev_files and hears no more than --false_alarms_per_hour in these; rows with a command are left out",
        quiet=True,
        path="files",
    )
    false_alarms_per_hour: float = flag(
        0.5, "false alarms that are allowed in an hour of other speech", unit="an hour", above=0, quiet=True
    )
    clip_seconds: float = flag(
        1.0,
        "of a command, at most: a longer clip is cut to its loudest part, and in a stream so much is judged together",
        unit="seconds",
        above=0,
        at_most=10,
        fixed_by_weights=("task", "clip_seconds"),
    )


@dataclass(frozen=True)
class OptimizerFlags:
    beta1: float = flag(0.9, "Adam's decay of the mean of the gradients", at_least=0, below=1)
    beta2: float = flag(0.999, "Adam's decay of the mean of their squares", at_least=0, below=1)
    epsilon: float = flag(1e-8, "Adam's term against a division by zero", above=0)
    learning_rate: float = flag(0.001, "Adam's learning rate", above=0, describes_training=True)
    lr_schedule: str = flag(
        "constant",
        "how the learning rate goes over --epochs: constant stays at --learning_rate, cosine falls from there to 0 "
        "along half a cosine, plateau is constant with --reduce_lr_on_plateau",
        choices=("constant", "cosine", "plateau"),
        describes_training=True,
    )
    warmup_epochs: float = flag(
        0.0,
        "let the learning rate rise from 0 over this much of the run first",
        unit="epochs",
        zero="no",
        at_least=0,
        describes_training=True,
    )
    weight_decay: float = flag(
        0.0,
        "shrink the matrices (not biases) by this times the learning rate in each step, apart from Adam's moments "
        "(AdamW)",
        zero="no",
        at_least=0,
        describes_training=True,
    )
    ema: float = flag(
        0.0,
        "validate, test and export an average of the weights over the steps in which older ones count by this factor "
        "less for each step since (an exponential moving average), such as 0.999",
        zero="the weights themselves",
        at_least=0,
        below=1,
        describes_training=True,
    )


@dataclass(frozen=True)
class ComputeFlags:
    mode: str = flag(
        "",
        "what to compute on: gpu, the GPU with the most free memory, and an error where none fits; cpu; mixed, such a "
        "GPU where there is one, else the CPU",
        choices=MODES,
        default_is="$DEEPSPEECH_MODE, as the images set it, else mixed",
        quiet=True,
    )
    device: str = flag(
        "",
        "device by name: cpu, gpu, gpu:all, or GPUs by their numbers in the order of their PCI addresses, as "
        "nvidia-smi counts them: gpu:1, cuda:0,1",
        unit="device",
        default_is="as --mode says",
        quiet=True,
    )
    min_gpu_memory: float = flag(
        2.0, "a GPU with less free memory than this does not fit", unit="GB", zero="any will do", at_least=0, quiet=True
    )
    show_resources: bool = flag(
        False,
        "print GPUs, cores, memory and limits, and which of them --mode would take, and do nothing else",
        quiet=True,
    )


@dataclass(frozen=True)
class ClusterFlags:
    workers: tuple[str, ...] = flag(
        (),
        "addresses of all the processes that train together, in the order of their ranks, this one too; none: it "
        "trains alone, whatever the environment says",
        unit="host:port",
        default_is="what TF_CONFIG or Slurm says, else alone",
        quiet=True,
    )
    rank: int = flag(
        -1,
        "which of --workers this process is",
        unit="number",
        zero="the first, which writes the checkpoints",
        default_is="what Slurm or a Kubernetes Indexed Job says",
        at_least=0,
        special=-1,
        quiet=True,
    )


@dataclass(frozen=True)
class PerformanceFlags:
    inter_op_parallelism_threads: int = flag(
        0, "threads that run operations side by side", unit="threads", zero="one for each CPU device", at_least=0
    )
    intra_op_parallelism_threads: int = flag(
        0, "threads inside one operation", unit="threads", zero="one for each usable core", at_least=0
    )
    automatic_mixed_precision: bool = flag(
        False, "compute in 16 bits where that is safe; weights and checkpoints stay in 32 bits"
    )
    log_placement: bool = flag(False, "log which device each operation runs on", quiet=True)
    logical_cpus: int = flag(
        1,
        "split the CPU into this many devices that share each batch, to try the way of several devices without them",
        unit="devices",
        at_least=1,
    )
    loader_threads: int = flag(
        0, "threads that read audio ahead", unit="threads", zero="one for each usable core, at most 8", at_least=0
    )


@dataclass(frozen=True)
class CheckpointFlags:
    checkpoint_dir: str = flag(
        "",
        "folder that checkpoints are loaded from and saved to; made if it is missing",
        default_is=DEFAULT_CHECKPOINT_DIR,
        quiet=True,
        path="folder",
    )
    output_dir: str = flag(
        "",
        "folder for all that a run writes: checkpoints/ and logs/ in it, unless --checkpoint_dir says; `deepspeech "
        "export` writes to exports/ in it, unless --export_dir says",
        quiet=True,
        path="folder",
    )
    load_checkpoint_dir: str = flag(
        "",
        "folder that checkpoints are loaded from, where it differs",
        default_is="as --checkpoint_dir",
        quiet=True,
        path="folder",
    )
    save_checkpoint_dir: str = flag(
        "",
        "folder that checkpoints are saved to, where it differs",
        default_is="as --checkpoint_dir",
        quiet=True,
        path="folder",
    )
    checkpoint_secs: int = flag(600, "save within an epoch too, this often", unit="seconds", at_least=1)
    max_to_keep: int = flag(5, "last checkpoints to keep; the best is kept besides", unit="checkpoints", at_least=1)
    best_by: str = flag(
        "",
        "which figure of the validation decides which checkpoint is the best: loss, as in DeepSpeech, or one of the "
        "task: cer (the character error rate) or wer of speech to text; early stopping and plateaus always go by the "
        "loss",
        default_is="the task's own: cer",
        examples=("cer", "wer", "loss"),
    )
    load_train: str = flag(
        "auto",
        "where training starts: from the last checkpoint, from the best, or from init, which is new weights; "
        "auto takes the last, without one the best, without that init",
        choices=("last", "best", "init", "auto"),
        quiet=True,
    )
    load_evaluate: str = flag(
        "auto",
        "which checkpoint is tested and used: the last or the best; auto takes the best, without one the last",
        choices=("last", "best", "auto"),
        quiet=True,
    )
    ephemeral: bool = flag(
        False,
        "in a Docker image of this project: train although the checkpoint folder is not on a volume and will be gone "
        "with the container",
        quiet=True,
    )

    @property
    def load_dir(self) -> Path:
        return Path(self.load_checkpoint_dir or self.checkpoint_dir or self._default_dir)

    @property
    def save_dir(self) -> Path:
        return Path(self.save_checkpoint_dir or self.checkpoint_dir or self._default_dir)

    @property
    def _default_dir(self) -> str:
        return os.path.join(self.output_dir, "checkpoints") if self.output_dir else DEFAULT_CHECKPOINT_DIR

    @property
    def logs_dir(self) -> Path:
        """Where the session logs of a training go: with its checkpoints, or beside them in --output_dir."""
        return Path(self.output_dir, "logs") if self.output_dir else self.save_dir / "logs"


@dataclass(frozen=True)
class TransferFlags:
    drop_source_layers: int = flag(
        0,
        "start with new weights in so many layers, counted from the output, and with those of --load_checkpoint_dir in "
        "the others; 1 is what another alphabet needs. Done once, when the run begins",
        unit="layers",
        zero="all layers come from the source",
        at_least=0,
        quiet=True,
    )
    reuse_characters: bool = flag(
        False,
        "with another alphabet, take the weights of the output layer for the characters that both alphabets have, and "
        "for the blank, and new weights for the others",
        quiet=True,
    )
    freeze_layers: tuple[str, ...] = flag(
        (),
        "layers whose weights are not trained; of deepspeech layer_1, layer_2, layer_3, lstm, layer_5 or layer_6, of "
        "conformer input, block_1, block_2 ... or output",
        describes_training=True,
    )
    source_learning_rate_factor: float = flag(
        1.0,
        "the learning rate of the layers that come from the source, as a share of --learning_rate",
        above=0,
        at_most=1,
        describes_training=True,
    )


@dataclass(frozen=True)
class GeometryFlags:
    network: str = flag(
        DEFAULT_NETWORK,
        "kind of acoustic model: deepspeech, three dense layers, an LSTM and two dense layers; conformer, blocks of "
        "attention and convolution, see docs/networks.md; ds_tc_resnet, small filters for spoken commands; of words "
        "transformer and lstm, see docs/pronunciation.md",
        default_is="the task's usual one: deepspeech, ds_tc_resnet or transformer",
        choices=MODELS,
        fixed_by_weights=("network", "name"),
    )
    conformer_size: str = flag(
        "s",
        "size of a conformer, for its flags that are not given: "
        + "; ".join(
            f"{name}: {' '.join(f'--{flag} {value}' for flag, value in values.items())}"
            for name, values in CONFORMER_SIZES.items()
        ),
        choices=CONFORMER_SIZES,
        quiet=True,
    )
    d_model: int = flag(
        CONFORMER_SIZES["s"]["d_model"],
        "width of a conformer or a transformer",
        unit="units",
        default_is="as --conformer_size says",
        at_least=1,
        fixed_by_weights=("network", "d_model"),
    )
    layers: int = flag(
        CONFORMER_SIZES["s"]["layers"],
        "blocks of a conformer, or of a transformer's encoder and of its decoder",
        unit="blocks",
        default_is="as --conformer_size says",
        at_least=1,
        at_most=100,
        fixed_by_weights=("network", "layers"),
    )
    heads: int = flag(
        4,
        "heads of the attention of a conformer or a transformer, which divide --d_model",
        unit="heads",
        zero="no attention",
        at_least=0,
        fixed_by_weights=("network", "heads"),
    )
    kernel: int = flag(
        15,
        "frames of 40 ms that a conformer's convolutions take: the present one and those before; an odd number",
        unit="frames",
        at_least=3,
        at_most=99,
        fixed_by_weights=("network", "kernel"),
    )
    filters: int = flag(
        128,
        "width of ds_tc_resnet: channels of its wide blocks; the three in the middle have half as many",
        unit="channels",
        at_least=2,
        fixed_by_weights=("network", "filters"),
    )
    n_hidden: int = flag(
        2048,
        "width of the hidden layers and of the LSTM of deepspeech, or of the layers of lstm",
        unit="units",
        at_least=1,
        fixed_by_weights=("network", "n_hidden"),
    )
    layer_norm: bool = flag(
        False,
        "normalise the outputs of the dense layers of deepspeech but the last (layer normalisation)",
        fixed_by_weights=("network", "layer_norm"),
    )
    normalise_features: bool = flag(
        False,
        "train on features of zero mean and unit deviation over the training clips; checkpoints and exports take the "
        "usual features, as it is put into the weights of the first layer",
        fixed_in_a_run=True,
        describes_training=True,
    )


@dataclass(frozen=True)
class ExportFlags:
    export_dir: str = flag(
        "",
        "folder for the exported model, its card and the parity report; without one, nothing is exported. The "
        "checkpoint is the one that --load_evaluate names",
        quiet=True,
        path="folder",
    )
    remove_export: bool = flag(False, "replace the export that --export_dir has, instead of refusing", quiet=True)
    export_tflite: bool = flag(
        True,
        "export a .tflite, or a .g2p of a model of words; there is no other kind, so --noexport_tflite is refused",
        quiet=True,
    )
    export_quantize: bool = flag(
        True, "8-bit weights, a quarter of the size; --noexport_quantize exports them in 32 bits", quiet=True
    )
    n_steps: int = flag(
        16,
        "frames that one call of the exported network takes: fewer give a stream's text earlier, more are faster",
        unit="frames",
        at_least=1,
        at_most=1000,
        quiet=True,
    )
    export_file_name: str = flag("output_graph", "name of the exported file, without its suffix", quiet=True)
    export_beam_width: int = flag(
        500, "beam width of the clients unless they set one, written into the exported model", at_least=1, quiet=True
    )
    export_batch_size: int = flag(
        1, "streams that the exported network takes at once; only 1 is written", at_least=1, quiet=True
    )
    export_zip: bool = flag(
        False, "pack the folder as a zip beside it as well: --export_dir models/en makes models/en.zip", quiet=True
    )
    export_max_wer_increase: float = flag(
        0.05,
        "how much higher the WER of an exported model with 8-bit weights may be than that of the checkpoint, on up to "
        "20 clips of --test_files; otherwise nothing is exported",
        zero="not at all",
        at_least=0,
        quiet=True,
    )


@dataclass(frozen=True)
class CardFlags:
    export_author_id: str = flag(
        "author", "author of the exported model, and the first part of its card's file name", quiet=True
    )
    export_model_name: str = flag("model", "name of the exported model, and the second part", quiet=True)
    export_model_version: str = flag("0.0.1", "version of the exported model, and the third part", quiet=True)
    export_contact_info: str = flag(
        "", "how to reach the author in public", placeholder="<public contact information of the author>", quiet=True
    )
    export_license: str = flag(
        "",
        "licence of the exported model",
        placeholder="<SPDX identifier of the license of the exported model>",
        quiet=True,
    )
    export_language: str = flag(
        "",
        "language of the model, such as en-Latn-UK: a BCP 47 tag; it is written into the exported model too",
        placeholder="<language the model was trained on - IETF BCP 47 language tag>",
        quiet=True,
    )
    export_min_ds_version: str = flag(
        "", "oldest DeepSpeech that loads the model", placeholder="<minimum DeepSpeech version (inclusive)>", quiet=True
    )
    export_max_ds_version: str = flag(
        "", "newest DeepSpeech that loads the model", placeholder="<maximum DeepSpeech version (inclusive)>", quiet=True
    )
    export_min_stt_version: str = flag(
        "", "oldest Coqui STT that loads the model", placeholder="<minimum Coqui STT version (inclusive)>", quiet=True
    )
    export_max_stt_version: str = flag(
        "", "newest Coqui STT that loads the model", placeholder="<maximum Coqui STT version (inclusive)>", quiet=True
    )
    export_description: str = flag(
        "",
        "description of the model, the text of the card",
        placeholder="<Freeform description of the model>",
        quiet=True,
    )


@dataclass(frozen=True)
class EarlyStopFlags:
    early_stop: bool = flag(False, "stop when the validation loss does not get better any more; needs --dev_files")
    es_epochs: int = flag(25, "stop after this many epochs without a better validation loss", unit="epochs", at_least=1)
    es_min_delta: float = flag(
        0.05,
        "a loss that is lower by less than this does not count as better; for --reduce_lr_on_plateau too",
        zero="any lower loss counts",
        at_least=0,
    )
    min_epochs: int = flag(
        0, "never stop early before this many epochs", unit="epochs", zero="no such minimum", at_least=0
    )


@dataclass(frozen=True)
class PlateauFlags:
    reduce_lr_on_plateau: bool = flag(
        False,
        "lower the learning rate when the validation loss does not get better; needs --dev_files",
        describes_training=True,
    )
    plateau_epochs: int = flag(
        10, "lower it after this many epochs without a better validation loss", unit="epochs", at_least=1
    )
    plateau_reduction: float = flag(0.1, "lower it by multiplying it with this", above=0, below=1)
    force_initialize_learning_rate: bool = flag(
        False, "set --learning_rate again after loading a checkpoint whose rate had been lowered"
    )


@dataclass(frozen=True)
class ReportingFlags:
    log_level: int = flag(1, "what to say: 0 debug, 1 info, 2 warnings, 3 errors", at_least=0, at_most=3, quiet=True)
    show_progressbar: bool = flag(
        True, "draw progress bars on a terminal (elsewhere progress is a line now and then)", quiet=True
    )
    log_steps: int = flag(
        0,
        "where there is no terminal, a line after every so many steps",
        unit="steps",
        zero="none, progress is a line every 30 s",
        at_least=0,
        quiet=True,
    )
    report_count: int = flag(
        5,
        "best, median and worst clips that a test report shows of each",
        unit="clips",
        zero="none",
        at_least=0,
        quiet=True,
    )
    summary_dir: str = flag(
        "", "folder for TensorBoard's summaries; without one, none are written", quiet=True, path="folder"
    )
    notify: tuple[str, ...] = flag(
        (),
        "Apprise URL, such as ntfy://TOPIC, that is told when a training ends, fails or stops improving; may be given "
        "several times (docs/watching.md). A URL with a token is better kept in the variable DEEPSPEECH_NOTIFY",
        unit="url",
        repeatable=True,
        quiet=True,
        private=True,
    )
    wandb: str = flag(
        "",
        "project of Weights & Biases, or TEAM/PROJECT, for the figures of the run",
        unit="project",
        quiet=True,
        private=True,
    )
    mlflow: str = flag(
        "",
        "tracking URI of MLflow for the figures of the run, such as sqlite:///mlflow.db or http://HOST:5000",
        unit="uri",
        quiet=True,
        private=True,
    )
    test_output_file: str = flag(
        "", "JSON file for every test clip's transcript, hypothesis, WER, CER and loss", quiet=True, path="output"
    )


@dataclass(frozen=True)
class DecoderFlags:
    alphabet_config_path: str = flag(
        "",
        "text file of the alphabet: a character on each line, the space included; # starts a comment",
        default_is="the checkpoint's, without one the English of the package",
        path="file",
        quiet=True,
    )
    bytes_output_mode: bool = flag(
        False, "train a model that writes the bytes of UTF-8 instead of the characters of an alphabet: 255 labels"
    )
    scorer: str = flag(
        "",
        "scorer for --test_files and --one_shot_infer: a language model with its dictionary; --export_zip packs it too",
        path="file",
        quiet=True,
    )
    scorer_path: str = flag("", "the same as --scorer", path="file", quiet=True)
    train_scorer: bool = flag(
        False,
        "make a scorer of the transcripts of --train_files and use it as --scorer: for commands and other closed sets "
        "of words; it is train.scorer beside the checkpoints",
        quiet=True,
    )
    beam_width: int = flag(
        1024,
        "hypotheses that the decoder keeps after each frame, in tests and one-shot inference; validation is greedy",
        zero="greedy decoding, the fastest, without a scorer",
        at_least=0,
        at_most=100_000,
        quiet=True,
    )
    lm_alpha: float | None = flag(
        None,
        "weight of the scorer's language model, instead of the one that the scorer's file has",
        kind=float,
        default_is="the scorer's",
        zero="only its dictionary counts",
        at_least=-1e6,
        at_most=1e6,
        quiet=True,
    )
    lm_beta: float | None = flag(
        None,
        "what each word adds to the score, instead of what the scorer's file says",
        kind=float,
        default_is="the scorer's",
        zero="nothing",
        at_least=-1e6,
        at_most=1e6,
        quiet=True,
    )
    cutoff_prob: float = flag(
        1.0,
        "look only at the likeliest characters of a frame, up to this probability together",
        above=0,
        at_most=1,
        quiet=True,
    )
    cutoff_top_n: int = flag(
        300,
        "and at most at so many of them; as in DeepSpeech only where --cutoff_prob is below 1",
        at_least=1,
        quiet=True,
    )

    @property
    def scorer_file(self) -> str:
        """The scorer's file, "" for none.

        >>> DecoderFlags(scorer_path="en.scorer").scorer_file
        'en.scorer'
        """
        return self.scorer or self.scorer_path


@dataclass(frozen=True)
class InferenceFlags:
    one_shot_infer: str = flag("", "audio file to transcribe with the checkpoint", path="file", quiet=True)


@dataclass(frozen=True)
class Config:
    """All flags of a run, by group: `config.training.epochs`."""

    data: DataFlags = field(default_factory=DataFlags, metadata={"title": "Data"})
    augmentation: AugmentFlags = field(default_factory=AugmentFlags, metadata={"title": "Augmentation and cache"})
    voice: VoiceFlags = field(default_factory=VoiceFlags, metadata={"title": "Kind of data"})
    limits: LimitFlags = field(default_factory=LimitFlags, metadata={"title": "Limits and order"})
    batches: BatchFlags = field(default_factory=BatchFlags, metadata={"title": "Batches"})
    training: TrainingFlags = field(default_factory=TrainingFlags, metadata={"title": "Training"})
    commands: CommandFlags = field(default_factory=CommandFlags, metadata={"title": "Spoken commands"})
    optimizer: OptimizerFlags = field(default_factory=OptimizerFlags, metadata={"title": "Optimizer (Adam)"})
    compute: ComputeFlags = field(default_factory=ComputeFlags, metadata={"title": "What to compute on"})
    cluster: ClusterFlags = field(default_factory=ClusterFlags, metadata={"title": "Several machines"})
    performance: PerformanceFlags = field(default_factory=PerformanceFlags, metadata={"title": "Performance"})
    checkpoint: CheckpointFlags = field(default_factory=CheckpointFlags, metadata={"title": "Checkpoints"})
    transfer: TransferFlags = field(default_factory=TransferFlags, metadata={"title": "Fine-tuning and transfer"})
    geometry: GeometryFlags = field(default_factory=GeometryFlags, metadata={"title": "Geometry of the model"})
    early_stop: EarlyStopFlags = field(default_factory=EarlyStopFlags, metadata={"title": "Early stopping"})
    plateau: PlateauFlags = field(default_factory=PlateauFlags, metadata={"title": "Learning rate on a plateau"})
    reporting: ReportingFlags = field(default_factory=ReportingFlags, metadata={"title": "Reporting"})
    decoder: DecoderFlags = field(default_factory=DecoderFlags, metadata={"title": "Decoder"})
    export: ExportFlags = field(default_factory=ExportFlags, metadata={"title": "Export"})
    card: CardFlags = field(default_factory=CardFlags, metadata={"title": "Card of the exported model"})
    inference: InferenceFlags = field(default_factory=InferenceFlags, metadata={"title": "One-shot inference"})

    def replace(self, **values: Value) -> "Config":
        """The same with other values for these flags.

        >>> Config().replace(epochs=3, n_hidden=64).geometry.n_hidden
        64
        """
        groups = {}
        for part in fields(self):
            group = getattr(self, part.name)
            ours = {entry.name: values.pop(entry.name) for entry in fields(group) if entry.name in values}
            groups[part.name] = replace(group, **ours)
        assert not values, f"no such flags: {', '.join(values)}"
        return Config(**groups)

    def with_preset_for(self, network: str, given: Collection[str]) -> "Config":
        """With the values that its --preset has for this network, where it was read for another one.

        Args:
            network: a name in MODELS, of the checkpoint that is worked on.
            given: names of the flags that a person has set, which stay.

        >>> config = Config().replace(preset="small", n_hidden=512, early_stop=True, epochs=100)
        >>> config = config.with_preset_for("conformer", {"preset"})
        >>> config.training.epochs, config.early_stop.early_stop, config.geometry.n_hidden
        (60, False, 2048)
        """
        preset, read_for = PRESETS.get(self.training.preset), self.geometry.network
        if preset is None or network == read_for or network not in MODELS:
            return self
        values: dict[str, Value] = {name: FLAGS[name].default for name in preset.values_of(read_for)}
        values.update(preset.values_of(network))
        return self.replace(**{name: value for name, value in values.items() if name not in given})

    @property
    def reduces_rate_on_plateau(self) -> bool:
        return self.plateau.reduce_lr_on_plateau or self.optimizer.lr_schedule == "plateau"


def _type_of(part: Field[Any]) -> type[Any]:
    assert isinstance(part.type, type), "types of groups are no strings"
    return part.type


def flags_of(part: Field[Any]) -> tuple[Field[Any], ...]:
    """The flags of a group, which is a field of Config."""
    return fields(_type_of(part))


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {entry.name: entry.metadata["flag"] for part in fields(Config) for entry in flags_of(part)}
)


def config_of(values: Mapping[str, Value]) -> Config:
    """The Config with these values; a name that is missing gets its default."""
    return Config(
        **{
            part.name: _type_of(part)(**{e.name: values[e.name] for e in flags_of(part) if e.name in values})
            for part in fields(Config)
        }
    )


def as_dict(config: Config) -> dict[str, Any]:
    """All flags but the private ones as name -> JSON value; `from_dict` reads it back."""
    values = {}
    for part in fields(config):
        for entry in flags_of(part):
            if FLAGS[entry.name].private:
                continue
            value = getattr(getattr(config, part.name), entry.name)
            values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def from_dict(values: Mapping[str, Any]) -> Config:
    """The Config that `as_dict` was made of; a name that is missing gets its default.

    Raises:
        ValueError: a name is unknown, or a value is of another type or out of range.

    >>> from_dict({"epochs": 3}).training.epochs
    3
    """
    known = {}
    for name, value in values.items():
        if name not in FLAGS:
            raise ValueError(f"unknown flag {name!r}")
        known[name] = _value_of_json(name, FLAGS[name], value)
    return config_of(known)


def to_flag_lines(config: Config) -> list[str]:
    """All flags as `--name=value` lines, for a flags.txt that --flagfile reads back; not those of other networks.

    >>> to_flag_lines(Config())[:2], to_flag_lines(Config())[-1]
    (['--train_files=', '--dev_files='], '--one_shot_infer=')
    """
    lines, others = [], flags_of_others(config.geometry.network)
    for part in fields(config):
        for entry in flags_of(part):
            if entry.name in others or FLAGS[entry.name].private:
                continue
            value = getattr(getattr(config, part.name), entry.name)
            values = (value or ("",)) if FLAGS[entry.name].repeatable else (value,)
            lines += [f"--{entry.name}={value_text(one)}" for one in values]
    return lines


def _value_of_json(name: str, flag: Flag, value: Any) -> Value:
    if value is None and flag.default is None:
        return None
    kinds = {float: (int, float), tuple: (list, tuple)}.get(flag.type, (flag.type,))
    fits = isinstance(value, kinds) and (flag.type is bool or not isinstance(value, bool))
    if fits and flag.type is tuple:
        fits = all(isinstance(item, str) for item in value)
    if not fits or not flag.allows(value):
        raise ValueError(f"--{name} {value!r}: must be {flag.allowed}")
    return flag.type(value)
