"""The flags: a field of a group below IS a flag, and parser, --help, flags.txt and docs/flags.md follow from it.

Names, defaults and syntax are DeepSpeech's: `--x 1`, `--x=1`, `-x 1`, `--x`, `--nox`, `--x=false`, comma lists and
`--flagfile`; `--x false` works too, where DeepSpeech ignores the word.
DeepSpeech's flags that this version does without are in the tables OBSOLETE and TO_COME.
"""

import difflib
import math
import os
import re
import textwrap
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.config.presets import PRESETS
from deepspeech_training.errors import FlagError
from deepspeech_training.models.deepspeech.geometry import LAYERS

DEFAULT_CHECKPOINT_DIR = "persistent-data/checkpoints"
DEFAULT_CACHE_DIR = "persistent-data/cache"
LARGEST_INT = 2**31 - 1
DEEPSPEECH_WEIGHTS = {"lm_alpha": 0.931289039105002, "lm_beta": 1.1834137581510284}  # in all flags.txt that it writes
MODES = ("gpu", "cpu", "mixed")
TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a comma list"}

Value = bool | int | float | str | tuple[str, ...] | None


@dataclass(frozen=True)
class Flag:
    """What there is to know of one flag; the type of `default` is the type of its values, unless `kind` says it.

    `zero` says what 0 means and `default_is` what an empty or negative default stands for. The bounds `at_least` and
    `at_most` are inclusive, `above` and `below` exclusive; `special` is one more number that is allowed. A flag with a
    `placeholder` takes any text in angle brackets for nothing, as DeepSpeech's flags.txt has it. A `repeatable` flag
    gathers the values of all places where it stands, and its values may have commas. `alone` is what a flag means
    that stands without a value. Where `default` is None the value is found elsewhere unless the flag is given, with
    whatever value; written without one (`--flag=`) it is as if it were not there.
    """

    default: Any
    help: str
    unit: str = ""
    zero: str = ""
    default_is: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    special: float | None = None
    is_file: bool = False
    placeholder: str = ""
    repeatable: bool = False
    alone: str = ""
    kind: type | None = None

    @property
    def type(self) -> type:
        return self.kind or type(self.default)

    @property
    def whole_help(self) -> str:
        """The help with the meaning of 0."""
        return f"{self.help} (0: {self.zero})" if self.zero else self.help

    @property
    def default_text(self) -> str:
        if self.default_is or self.placeholder:
            return self.default_is or "a placeholder to fill in"
        return value_text(self.default) or "none"

    @property
    def allowed(self) -> str:
        """Which values are allowed, in words.

        >>> Flag(5, "checkpoints to keep", at_least=1).allowed
        'a whole number, at least 1'
        """
        if self.choices:
            return f"{'some' if self.type is tuple else 'one'} of {', '.join(self.choices)}"
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (
                ("above", self.above),
                ("at least", self.at_least),
                ("below", self.below),
                ("at most", self.at_most),
            )
            if bound is not None
        ]
        kind = TYPE_NAMES[self.type] + (f", {' and '.join(bounds)}" if bounds else "")
        return kind if self.special is None else f"{kind}, or {self.special:g}"

    def allows(self, number: float) -> bool:
        """Whether a number of the right type is within the bounds."""
        if self.special is not None and number == self.special:
            return True
        return (
            math.isfinite(number)
            and (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
            and (self.type is float or abs(number) <= LARGEST_INT)
        )


def flag(default: Value, help: str, **details: Any) -> Any:
    """A dataclass field that is a flag; `details` are the fields of `Flag`."""
    return field(default=default, metadata={"flag": Flag(default, help, **details)})


@dataclass(frozen=True)
class DataFlags:
    train_files: tuple[str, ...] = flag((), "CSV files to train on; without any, nothing is trained")
    dev_files: tuple[str, ...] = flag(
        (),
        "CSV files to validate on after each epoch, reported one by one; they decide which checkpoint is the best",
    )
    test_files: tuple[str, ...] = flag((), "CSV files to test on after training; each gets a report of WER and CER")
    metrics_files: tuple[str, ...] = flag(
        (), "CSV files whose loss is reported after each validation, without an effect on which checkpoint is best"
    )
    on_bad_row: str = flag(
        "fail",
        "what to do with rows that cannot be used (no such file, a character that is not in the alphabet ...): fail "
        "says which they are and stops before training, drop says which they are and goes on without them",
        choices=("fail", "drop"),
    )
    feature_win_len: int = flag(32, "length of the window that one frame of features is made of", unit="ms", at_least=1)
    feature_win_step: int = flag(20, "time from one frame of features to the next", unit="ms", at_least=1)
    audio_sample_rate: int = flag(
        16000, "sample rate that the model works at; audio of another rate is resampled", unit="Hz", at_least=4000
    )


@dataclass(frozen=True)
class AugmentFlags:
    augment: tuple[str, ...] = flag(
        (),
        "augment the training clips: name[p=0.5,parameter=value], see docs/augmentations.md; can be given several "
        "times, and all of them are applied in that order",
        unit="name[...]",
        repeatable=True,
    )
    feature_cache: str = flag(
        "",
        f"keep decoded and resampled audio in this folder, for later epochs and other runs; --feature_cache without a "
        f"folder (in YAML true) is {DEFAULT_CACHE_DIR}, --nofeature_cache is none. It is found by the "
        "content of a file, and augmented after it is read",
        alone=DEFAULT_CACHE_DIR,
    )
    feature_cache_gb: float = flag(
        50.0, "how large that folder may become; then nothing more is stored in it", unit="GB", above=0
    )
    cache_for_epochs: int = flag(
        0, "decode all clips anew after every so many epochs", unit="epochs", zero="never", at_least=0
    )


@dataclass(frozen=True)
class VoiceFlags:
    voice_mode: str = flag(
        "auto",
        "what to train: voice, the acoustic model, from --train_files or --voice_data_dir; text, a language model and "
        "the scorer of it, from --text_data; auto looks at what there is, and says what it takes",
        choices=("voice", "text", "auto"),
    )
    voice_data_dir: str = flag(
        "",
        "folder of recordings (wav, mp3, flac, ogg, opus) with transcripts, searched with all below it; the CSVs of it "
        "are made in the checkpoint folder, a tenth each for dev and test",
    )
    check_voice_data: bool = flag(
        False, "look at --voice_data_dir, print what is there and what is missing to train, and do nothing else"
    )
    text_data: tuple[str, ...] = flag((), "text files, folders of them and CSVs to build a scorer of; .gz is unpacked")


@dataclass(frozen=True)
class LimitFlags:
    limit_train: int = flag(0, "use at most this many training clips", unit="clips", zero="all", at_least=0)
    limit_dev: int = flag(
        0, "use at most this many validation clips of each file", unit="clips", zero="all", at_least=0
    )
    limit_test: int = flag(0, "use at most this many test clips of each file", unit="clips", zero="all", at_least=0)
    reverse_train: bool = flag(False, "order the training clips from long to short instead of from short to long")
    reverse_dev: bool = flag(False, "order the validation clips from long to short instead of from short to long")
    reverse_test: bool = flag(False, "order the test clips from long to short instead of from short to long")
    shuffle: bool = flag(
        True, "give every epoch its own order; --noshuffle is DeepSpeech's order, from short to long in every epoch"
    )


@dataclass(frozen=True)
class BatchFlags:
    train_batch_size: int = flag(1, "clips in a training batch, for each device", unit="clips", at_least=1)
    dev_batch_size: int = flag(1, "clips in a validation batch, for each device", unit="clips", at_least=1)
    test_batch_size: int = flag(1, "clips in a test batch, for each device", unit="clips", at_least=1)
    batch_seconds: float = flag(
        0.0,
        "fill each training batch with this much audio, padding counted, for each device, instead of with "
        "--train_batch_size clips: many short clips or a few long ones",
        unit="seconds",
        zero="off, --train_batch_size counts",
        at_least=0,
    )
    skip_batch_test: bool = flag(
        False, "do not try the batch of the longest clips before training, which shows at once whether memory suffices"
    )


@dataclass(frozen=True)
class TrainingFlags:
    preset: str = flag(
        "none",
        "values that suit an amount of training data, for all these flags that are not given: "
        f"{', '.join(f'--{name}' for name in PRESETS['tiny'].values)}; docs/training.md has them. "
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
        0.05, "share of the outputs of layer 1 that is dropped in training", zero="no dropout", at_least=0, below=1
    )
    dropout_rate2: float = flag(
        -1.0, "the same for layer 2", default_is="-1, as --dropout_rate", at_least=0, below=1, special=-1
    )
    dropout_rate3: float = flag(
        -1.0, "the same for layer 3", default_is="-1, as --dropout_rate", at_least=0, below=1, special=-1
    )
    dropout_rate6: float = flag(
        -1.0,
        "the same for layer 5, the one after the LSTM (it is 6 in DeepSpeech's flags too)",
        default_is="-1, as --dropout_rate",
        at_least=0,
        below=1,
        special=-1,
    )
    relu_clip: float = flag(20.0, "outputs of the dense layers are clipped to this", above=0)
    max_grad_norm: float = flag(
        0.0, "scale the gradient of a step down to this norm if it is larger", zero="never", at_least=0
    )
    leading_blanks: int = flag(
        0,
        "train without letters in so many first frames of a clip, as far as its transcript leaves room: else a network "
        "may never learn the first letter of clips that begin with silence. Take 9, what the context sees, there, and "
        "none where clips are cut right before the first sound",
        unit="frames",
        zero="letters anywhere",
        at_least=0,
    )
    random_seed: int = flag(
        4568, "seed of the initial weights, the order of the clips, dropout and augmentation", at_least=0
    )

    @property
    def dropout_rates(self) -> tuple[float, float, float, float]:
        """The rates of layers 1, 2, 3 and 5.

        >>> TrainingFlags(dropout_rate=0.2, dropout_rate6=0.3).dropout_rates
        (0.2, 0.2, 0.2, 0.3)
        """
        first = self.dropout_rate
        second, third, fifth = (
            first if rate < 0 else rate for rate in (self.dropout_rate2, self.dropout_rate3, self.dropout_rate6)
        )
        return first, second, third, fifth


@dataclass(frozen=True)
class OptimizerFlags:
    beta1: float = flag(0.9, "Adam's decay of the mean of the gradients", at_least=0, below=1)
    beta2: float = flag(0.999, "Adam's decay of the mean of their squares", at_least=0, below=1)
    epsilon: float = flag(1e-8, "Adam's term against a division by zero", above=0)
    learning_rate: float = flag(0.001, "Adam's learning rate", above=0)
    lr_schedule: str = flag(
        "constant",
        "how the learning rate goes over --epochs: constant stays at --learning_rate, cosine falls from there to 0 "
        "along half a cosine, plateau is constant with --reduce_lr_on_plateau",
        choices=("constant", "cosine", "plateau"),
    )
    warmup_epochs: float = flag(
        0.0, "let the learning rate rise from 0 over this much of the run first", unit="epochs", zero="no", at_least=0
    )
    weight_decay: float = flag(
        0.0,
        "shrink the matrices (not biases) by this times the learning rate in each step, apart from Adam's moments "
        "(AdamW)",
        zero="no",
        at_least=0,
    )
    ema: float = flag(
        0.0,
        "validate, test and export an average of the weights over the steps in which older ones count by this factor "
        "less for each step since (an exponential moving average), such as 0.999",
        zero="the weights themselves",
        at_least=0,
        below=1,
    )


@dataclass(frozen=True)
class ComputeFlags:
    mode: str = flag(
        "",
        "what to compute on: gpu, the GPU with the most free memory, and an error where none fits; cpu; mixed, such a "
        "GPU where there is one, else the CPU",
        choices=MODES,
        default_is="$DEEPSPEECH_MODE, as the images set it, else mixed",
    )
    device: str = flag(
        "",
        "device by name: cpu, gpu, gpu:all, or GPUs by their numbers in the order of their PCI addresses, as "
        "nvidia-smi counts them: gpu:1, cuda:0,1",
        unit="device",
        default_is="as --mode says",
    )
    min_gpu_memory: float = flag(
        2.0, "a GPU with less free memory than this does not fit", unit="GB", zero="any will do", at_least=0
    )
    show_resources: bool = flag(
        False, "print GPUs, cores, memory and limits, and which of them --mode would take, and do nothing else"
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
    log_placement: bool = flag(False, "log which device each operation runs on")
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
    )
    output_dir: str = flag(
        "",
        "folder for all that a run writes: checkpoints/ and logs/ in it, unless --checkpoint_dir says; bin/export "
        "writes to exports/ in it, unless --export_dir says",
    )
    load_checkpoint_dir: str = flag(
        "", "folder that checkpoints are loaded from, where it differs", default_is="as --checkpoint_dir"
    )
    save_checkpoint_dir: str = flag(
        "", "folder that checkpoints are saved to, where it differs", default_is="as --checkpoint_dir"
    )
    checkpoint_secs: int = flag(600, "save within an epoch too, this often", unit="seconds", at_least=1)
    max_to_keep: int = flag(5, "last checkpoints to keep; the best is kept besides", unit="checkpoints", at_least=1)
    best_by: str = flag(
        "cer",
        "which figure of the validation decides which checkpoint is the best: the character error rate, the word error "
        "rate, or the loss, as in DeepSpeech; early stopping and plateaus always go by the loss",
        choices=("cer", "wer", "loss"),
    )
    load_train: str = flag(
        "auto",
        "where training starts: from the last checkpoint, from the best, or from init, which is new weights; "
        "auto takes the last, without one the best, without that init",
        choices=("last", "best", "init", "auto"),
    )
    load_evaluate: str = flag(
        "auto",
        "which checkpoint is tested and used: the last or the best; auto takes the best, without one the last",
        choices=("last", "best", "auto"),
    )
    ephemeral: bool = flag(
        False,
        "in a Docker image of this project: train although the checkpoint folder is not on a volume and will be gone "
        "with the container",
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
        at_most=5,
    )
    reuse_characters: bool = flag(
        False,
        "with another alphabet, take the weights of the output layer for the characters that both alphabets have, and "
        "for the blank, and new weights for the others",
    )
    freeze_layers: tuple[str, ...] = flag(
        (),
        "layers whose weights are not trained, of layer_1, layer_2, layer_3, lstm, layer_5 and layer_6",
        choices=LAYERS,
    )
    source_learning_rate_factor: float = flag(
        1.0,
        "the learning rate of the layers that come from the source, as a share of --learning_rate",
        above=0,
        at_most=1,
    )


@dataclass(frozen=True)
class GeometryFlags:
    n_hidden: int = flag(2048, "width of the hidden layers and of the LSTM", unit="units", at_least=1)
    layer_norm: bool = flag(False, "normalise the outputs of the dense layers but the last (layer normalisation)")
    normalise_features: bool = flag(
        False,
        "train on features of zero mean and unit deviation over the training clips; checkpoints and exports take the "
        "usual features, as it is put into the weights of layer 1",
    )


@dataclass(frozen=True)
class ExportFlags:
    export_dir: str = flag(
        "",
        "folder for the exported model, its card and the parity report; without one, nothing is exported. The "
        "checkpoint is the one that --load_evaluate names",
    )
    remove_export: bool = flag(
        False, "put the new export in the place of the one that --export_dir has, instead of refusing"
    )
    export_tflite: bool = flag(True, "export a .tflite; there is no other kind, so --noexport_tflite is refused")
    export_quantize: bool = flag(
        True, "8-bit weights, a quarter of the size; --noexport_quantize exports them in 32 bits"
    )
    n_steps: int = flag(
        16,
        "frames that one call of the exported network takes: fewer give a stream's text earlier, more are faster",
        unit="frames",
        at_least=1,
        at_most=1000,
    )
    export_file_name: str = flag("output_graph", "name of the exported file, without .tflite")
    export_beam_width: int = flag(
        500, "beam width of the clients unless they set one, written into the exported model", at_least=1
    )
    export_batch_size: int = flag(1, "streams that the exported network takes at once; only 1 is written", at_least=1)
    export_zip: bool = flag(
        False, "pack the folder as a zip beside it as well: --export_dir models/en makes models/en.zip"
    )
    export_max_wer_increase: float = flag(
        0.05,
        "how much higher the WER of an exported model with 8-bit weights may be than that of the checkpoint, on up to "
        "20 clips of --test_files; otherwise nothing is exported",
        zero="not at all",
        at_least=0,
    )


@dataclass(frozen=True)
class CardFlags:
    export_author_id: str = flag("author", "author of the exported model, and the first part of its card's file name")
    export_model_name: str = flag("model", "name of the exported model, and the second part")
    export_model_version: str = flag("0.0.1", "version of the exported model, and the third part")
    export_contact_info: str = flag(
        "", "how to reach the author in public", placeholder="<public contact information of the author>"
    )
    export_license: str = flag(
        "", "licence of the exported model", placeholder="<SPDX identifier of the license of the exported model>"
    )
    export_language: str = flag(
        "",
        "language of the model, such as en-Latn-UK: a BCP 47 tag; it is written into the exported model too",
        placeholder="<language the model was trained on - IETF BCP 47 language tag>",
    )
    export_min_ds_version: str = flag(
        "", "oldest DeepSpeech that loads the model", placeholder="<minimum DeepSpeech version (inclusive)>"
    )
    export_max_ds_version: str = flag(
        "", "newest DeepSpeech that loads the model", placeholder="<maximum DeepSpeech version (inclusive)>"
    )
    export_min_stt_version: str = flag(
        "", "oldest Coqui STT that loads the model", placeholder="<minimum Coqui STT version (inclusive)>"
    )
    export_max_stt_version: str = flag(
        "", "newest Coqui STT that loads the model", placeholder="<maximum Coqui STT version (inclusive)>"
    )
    export_description: str = flag(
        "", "description of the model, the text of the card", placeholder="<Freeform description of the model>"
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
        False, "lower the learning rate when the validation loss does not get better; needs --dev_files"
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
    log_level: int = flag(1, "what to say: 0 debug, 1 info, 2 warnings, 3 errors", at_least=0, at_most=3)
    show_progressbar: bool = flag(True, "draw progress bars on a terminal (elsewhere progress is a line now and then)")
    log_steps: int = flag(
        0,
        "where there is no terminal, a line after every so many steps",
        unit="steps",
        zero="none, progress is a line every 30 s",
        at_least=0,
    )
    report_count: int = flag(
        5, "best, median and worst clips that a test report shows of each", unit="clips", zero="none", at_least=0
    )
    summary_dir: str = flag("", "folder for TensorBoard's summaries; without one, none are written")
    test_output_file: str = flag("", "JSON file for every test clip's transcript, hypothesis, WER, CER and loss")


@dataclass(frozen=True)
class DecoderFlags:
    alphabet_config_path: str = flag(
        "",
        "text file of the alphabet: a character on each line, the space included; # starts a comment",
        default_is="the checkpoint's, without one the English of the package",
        is_file=True,
    )
    bytes_output_mode: bool = flag(
        False, "train a model that writes the bytes of UTF-8 instead of the characters of an alphabet: 255 labels"
    )
    scorer: str = flag(
        "",
        "scorer for --test_files and --one_shot_infer: a language model with its dictionary; --export_zip packs it too",
        is_file=True,
    )
    scorer_path: str = flag("", "the same as --scorer", is_file=True)
    train_scorer: bool = flag(
        False,
        "make a scorer of the transcripts of --train_files and use it as --scorer: for commands and other closed sets "
        "of words; it is train.scorer beside the checkpoints",
    )
    beam_width: int = flag(
        1024,
        "hypotheses that the decoder keeps after each frame, in tests and one-shot inference; validation is greedy",
        zero="greedy decoding, the fastest, without a scorer",
        at_least=0,
        at_most=100_000,
    )
    lm_alpha: float | None = flag(
        None,
        "weight of the scorer's language model, instead of the one that the scorer's file has",
        kind=float,
        default_is="the scorer's",
        zero="only its dictionary counts",
        at_least=-1e6,
        at_most=1e6,
    )
    lm_beta: float | None = flag(
        None,
        "what each word adds to the score, instead of what the scorer's file says",
        kind=float,
        default_is="the scorer's",
        zero="nothing",
        at_least=-1e6,
        at_most=1e6,
    )
    cutoff_prob: float = flag(
        1.0, "look only at the likeliest characters of a frame, up to this probability together", above=0, at_most=1
    )
    cutoff_top_n: int = flag(
        300, "and at most at so many of them; as in DeepSpeech only where --cutoff_prob is below 1", at_least=1
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
    one_shot_infer: str = flag("", "audio file to transcribe with the checkpoint", is_file=True)


@dataclass(frozen=True)
class Config:
    """All flags of a run, by group: `config.training.epochs`."""

    data: DataFlags = field(default_factory=DataFlags, metadata={"title": "Data"})
    augmentation: AugmentFlags = field(default_factory=AugmentFlags, metadata={"title": "Augmentation and cache"})
    voice: VoiceFlags = field(default_factory=VoiceFlags, metadata={"title": "Kind of data"})
    limits: LimitFlags = field(default_factory=LimitFlags, metadata={"title": "Limits and order"})
    batches: BatchFlags = field(default_factory=BatchFlags, metadata={"title": "Batches"})
    training: TrainingFlags = field(default_factory=TrainingFlags, metadata={"title": "Training"})
    optimizer: OptimizerFlags = field(default_factory=OptimizerFlags, metadata={"title": "Optimizer (Adam)"})
    compute: ComputeFlags = field(default_factory=ComputeFlags, metadata={"title": "What to compute on"})
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

    @property
    def reduces_rate_on_plateau(self) -> bool:
        return self.plateau.reduce_lr_on_plateau or self.optimizer.lr_schedule == "plateau"


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {entry.name: entry.metadata["flag"] for part in fields(Config) for entry in fields(part.type)}
)

# Accepted with one line; the default is DeepSpeech's, or Coqui's where DeepSpeech has no such flag.
OBSOLETE: dict[str, Flag] = {
    "read_buffer": Flag("1MB", "is not needed: clips are read whole"),
    "normalize_sample_rate": Flag(True, "is not needed: audio of another rate than --audio_sample_rate is resampled"),
    "shuffle_batches": Flag(False, "is not needed: every epoch has its own order unless --noshuffle is given"),
    "shuffle_start": Flag(1, "is not needed: the order is shuffled from the first epoch on (see --shuffle)"),
    "shuffle_buffer": Flag(1000, "is not needed: the whole set is shuffled, not a part of it (see --shuffle)"),
    "dropout_rate4": Flag(0.0, "is not needed: DeepSpeech reads it, but drops nothing in layer 4, the LSTM"),
    "dropout_rate5": Flag(0.0, "is not needed: DeepSpeech reads it, but layer 5 follows --dropout_rate6"),
    "load_cudnn": Flag(False, "is not needed: one kind of checkpoint loads on CPU and GPU"),
    "train_cudnn": Flag(False, "is not needed: the fast kernel is taken where it can be; checkpoints are the same"),
    "lm_alpha_max": Flag(
        5, "is not needed: it is an option of bin/lm_optimizer.py, which searches the best --lm_alpha"
    ),
    "lm_beta_max": Flag(5, "is not needed: it is an option of bin/lm_optimizer.py, which searches the best --lm_beta"),
    "n_trials": Flag(2400, "is not needed: it is an option of bin/lm_optimizer.py, which searches the best weights"),
    "use_allow_growth": Flag(False, "is not needed: GPU memory is taken as it is needed"),
}
SILENT_AT_DEFAULT = frozenset({"dropout_rate4", "dropout_rate5"})  # there, the default is also what happens

# Refused with exit code 2.
EXPORT_TO_COME: dict[str, Flag] = {
    "export_savedmodel": Flag(False, "is to come: writing the trained model as a SavedModel"),
}
SCORER_TO_COME: dict[str, Flag] = {
    "vocab_file": Flag("", "is to come: testing with the words of a scorer"),
}
DATA_TO_COME: dict[str, Flag] = {
    "auto_input_dataset": Flag("", "is to come: splitting one CSV into training, validation and test set"),
}
TO_COME: dict[str, dict[str, Flag]] = {
    "Export": EXPORT_TO_COME,
    "Scorer and beam search": SCORER_TO_COME,
    "Splitting": DATA_TO_COME,
}

# What absl adds to the flags.txt that DeepSpeech writes; passed over there, unknown elsewhere.
_ABSL_BOOLEANS = (
    "alsologtostderr",
    "help",
    "helpfull",
    "helpshort",
    "helpxml",
    "logtostderr",
    "only_check_args",
    "only_check_flags",
    "pdb",
    "pdb_post_mortem",
    "run_with_pdb",
    "run_with_profiling",
    "showprefixforinfo",
    "use_cprofile_for_profiling",
)
_ABSL_TEXTS = ("log_dir", "logger_levels", "profile_file", "stderrthreshold", "verbosity")
_ABSL = {name: Flag(False, "absl's") for name in _ABSL_BOOLEANS} | {name: Flag("", "absl's") for name in _ABSL_TEXTS}

_REFUSED = {name: refused for family in TO_COME.values() for name, refused in family.items()}
_KNOWN = {**FLAGS, **OBSOLETE, **_REFUSED}
_HELP = {"help": "short", "helpshort": "short", "h": "short", "?": "short", "helpfull": "full"}
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")


@dataclass(frozen=True)
class ParsedFlags:
    """A command line that has been read.

    Args:
        config: all flags, defaults included.
        given: names of the flags of `config` that the command line or a flagfile sets.
        notices: lines to show before the run starts, such as those on obsolete flags.
        help_wanted: "short" for --help, "full" for --helpfull; the rest of the command line is then not read.
        version_wanted: --version was given; likewise.
    """

    config: Config
    given: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()
    help_wanted: Literal["", "short", "full"] = ""
    version_wanted: bool = False


def parse_flags(argv: Sequence[str]) -> ParsedFlags:
    """Read a command line, without the program's name.

    Raises:
        FlagError: a flag is unknown, refused, or has a value that is not allowed; or a flagfile cannot be read.

    >>> parsed = parse_flags(["--train_files", "a.csv,b.csv", "--early_stop", "false", "--noshuffle", "--epochs=3"])
    >>> parsed.config.data.train_files, parsed.config.early_stop.early_stop, parsed.config.training.epochs
    (('a.csv', 'b.csv'), False, 3)
    >>> sorted(parsed.given)
    ['early_stop', 'epochs', 'shuffle', 'train_files']
    """
    for word in argv:
        if any(0xD800 <= ord(character) <= 0xDFFF for character in word):  # Python's sign for a byte it cannot decode
            raise FlagError(f"{word!a}: is not UTF-8, in which flags are logged and saved; rename the file or folder")
    reader = _Reader()
    reader.read_words(argv, _Place())
    if reader.help_wanted or reader.version_wanted:
        return ParsedFlags(Config(), help_wanted=reader.help_wanted, version_wanted=reader.version_wanted)
    if reader.refused:
        lines = tuple(dict.fromkeys(reader.refused))
        raise FlagError("\n".join((*lines, f"Leave {'this flag' if len(lines) == 1 else 'these flags'} out for now.")))
    values = reader.config_values | reader.values
    preset = PRESETS.get(values.get("preset", "none"))
    config = _config_of({**(preset.values if preset else {}), **values})
    _check_files(config)
    _check_together(config)
    notices = (*dict.fromkeys(reader.notices), *_notices_on(config))
    return ParsedFlags(config, frozenset(values), notices)


def as_dict(config: Config) -> dict[str, Any]:
    """All flags as name -> JSON value; `from_dict` reads it back."""
    values = {}
    for part in fields(config):
        for entry in fields(part.type):
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
    return _config_of(known)


def to_flag_lines(config: Config) -> list[str]:
    """All flags as `--name=value` lines, for a flags.txt that --flagfile reads back.

    >>> to_flag_lines(Config())[:2], to_flag_lines(Config())[-1]
    (['--train_files=', '--dev_files='], '--one_shot_infer=')
    """
    lines = []
    for part in fields(config):
        for entry in fields(part.type):
            value = getattr(getattr(config, part.name), entry.name)
            values = (value or ("",)) if FLAGS[entry.name].repeatable else (value,)
            lines += [f"--{entry.name}={value_text(one)}" for one in values]
    return lines


def value_text(value: Value) -> str:
    """A value as it is written on the command line.

    >>> value_text(True), value_text(1e-8), value_text(("a.csv", "b.csv"))
    ('true', '1e-08', 'a.csv,b.csv')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


class _Fault(ValueError):
    """What is wrong with one flag; `_Reader.read_words` adds where it stands."""


@dataclass(frozen=True)
class _Place:
    """Where words come from: the command line, or a line of a flagfile; `chain` has the flagfiles that led there."""

    chain: tuple[Path, ...] = ()
    line: int = 0

    @property
    def prefix(self) -> str:
        return f"{self.chain[-1]}, line {self.line}: " if self.chain else ""


class _Reader:
    """Gathers the values of the words that it reads; the last value of a flag wins, as in absl."""

    def __init__(self):
        self.values: dict[str, Value] = {}
        self.config_values: dict[str, Value] = {}  # of --config, for which those of the command line count
        self.notices: list[str] = []
        self.refused: list[str] = []
        self.help_wanted: Literal["", "short", "full"] = ""
        self.version_wanted = False

    def read_words(self, words: Sequence[str], place: _Place) -> None:
        rest = deque(words)
        while rest and not (self.help_wanted or self.version_wanted):
            word = rest.popleft()
            if word == "--" and not rest:
                return
            match = re.fullmatch(r"--?([^=-][^=]*)(?:=(.*))?", word, re.DOTALL)
            if match is None:
                raise FlagError(
                    f"{place.prefix}{word!r} is not a flag; flags start with --, and a list is written with commas and "
                    "without spaces: --train_files a.csv,b.csv"
                )
            try:
                self._read_flag(match[1], match[2], rest, place)
            except _Fault as fault:
                raise FlagError(f"{place.prefix}{fault}") from None

    def _read_flag(self, name: str, text: str | None, rest: deque[str], place: _Place) -> None:
        """Read one flag; `text` is what follows its =, and `rest` the words after it."""
        if not place.chain and text is None and (name in _HELP or name == "version"):
            self.help_wanted, self.version_wanted = _HELP.get(name, ""), name == "version"
            return
        if name == "flagfile":
            self._read_flagfile(_take(name, text, rest), place)
            return
        if name == "config":
            self._read_config(_take(name, text, rest), place)
            return
        name, negated = _resolve(name, _KNOWN | _ABSL if place.chain else _KNOWN)
        known = _KNOWN.get(name) or _ABSL[name]
        if name in _REFUSED and not place.chain:
            self.refused.append(f"--{name} {known.help}")
            while rest and not _looks_like_flag(rest[0]):  # its value, or Coqui's list of them
                rest.popleft()
            return
        take = _take_bool if known.type is bool else _take
        if known.alone and text is None and not negated and (not rest or _looks_like_flag(rest[0])):
            text = known.alone
        if negated and text is not None:
            raise _Fault(f"--no{name} takes no value; write --no{name} or --{name}={text}")
        text = "false" if negated else take(name, text, rest)
        if known.alone and text.lower() in _SWITCH:  # in YAML, and --noname
            text = known.alone if _SWITCH[text.lower()] else ""
        if name in FLAGS and known.repeatable:
            texts = [text]
            while not place.chain and rest and not _looks_like_flag(rest[0]):  # Coqui's way to write several
                texts.append(rest.popleft())
            self.values[name] = self.values.get(name, ()) + _read_values(name, texts)
        elif name in FLAGS:
            self.values[name] = _read_value(name, known, text)
        elif name in OBSOLETE:
            if not (_is_default(name, known, text) and (place.chain or name in SILENT_AT_DEFAULT)):
                self.notices.append(f"{place.prefix}--{name} {known.help}")
        elif name in _REFUSED and not _is_default(name, known, text):
            self.refused.append(f"{place.prefix}--{name} {known.help}")

    def _read_config(self, text: str, place: _Place) -> None:
        """Read a YAML file of flags: scalars and flat lists, as written; nothing in it is made into objects."""
        path = _path_of(text, place)
        reader, names = _Reader(), set()
        for name, items, line in _yaml_entries(path, text):
            here = _Place((*place.chain, path), line)
            try:
                if name in names:
                    raise _Fault(f"{name} stands there twice")
                resolved, negated = _resolve(name, _KNOWN)
                if negated:
                    raise _Fault(f"{name}: write {name.removeprefix('no')}: false")
                if not _KNOWN[resolved].repeatable:
                    if len(items) > 1 and any("," in item for item in items):
                        raise _Fault(f"{name}: a comma within an item of a list")
                    items = [",".join(items)]
                for item in items:
                    reader._read_flag(name, item, deque(), here)
            except _Fault as fault:
                raise FlagError(f"{here.prefix}{fault}") from None
            names.add(name)
        self.config_values |= reader.values
        self.notices += reader.notices
        self.refused += reader.refused

    def _read_flagfile(self, text: str, place: _Place) -> None:
        path = _path_of(text, place)
        if os.path.realpath(path) in map(os.path.realpath, place.chain):
            circle = " -> ".join(str(file) for file in (*place.chain, path))
            raise _Fault(f"--flagfile {text}: the files include each other without end: {circle}")
        try:
            lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
        except OSError as error:
            raise _Fault(f"--flagfile {text}: {error.strerror or error}") from None
        for number, line in enumerate(lines, start=1):
            line = line.strip()
            if not line or line.startswith(("#", "//")):
                continue
            words = [line] if "=" in line.split(maxsplit=1)[0] else line.split(maxsplit=1)
            self.read_words(words, _Place((*place.chain, path), number))


def _path_of(text: str, place: _Place) -> Path:
    """The file that a flag names; in a flagfile it counts from there."""
    path = Path(os.path.expanduser(text))
    return place.chain[-1].parent / path if place.chain else path


def _yaml_entries(path: Path, text: str) -> Iterator[tuple[str, list[str], int]]:
    """Name, items of its value, and line of each entry of a YAML file; `text` is what --config said."""
    import yaml

    try:
        root = yaml.SafeLoader(path.read_text(encoding="utf-8-sig")).get_single_node()
    except OSError as error:
        raise _Fault(f"--config {text}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise _Fault(f"--config {text}{where}: is not YAML: {getattr(error, 'problem', None) or error}") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise _Fault(f"--config {text}: must be lines such as `epochs: 30`")
    for key, value in root.value if root is not None else ():
        line = key.start_mark.line + 1
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(node, yaml.ScalarNode) for node in (key, *items)):
            raise _Fault(f"--config {text}, line {line}: a value is one word, number or text, or a list of them")
        if any(item.tag == "tag:yaml.org,2002:null" for item in items):
            raise _Fault(f"--config {text}, line {line}: {key.value} has no value")
        yield key.value, [item.value for item in items], line


def _resolve(name: str, known: Mapping[str, Flag]) -> tuple[str, bool]:
    """The flag that a word names, and whether the word is its --no form."""
    if name in known:
        return name, False
    positive = name.removeprefix("no")
    if positive != name and positive in known and (known[positive].type is bool or known[positive].alone):
        return positive, True
    booleans = [f"no{candidate}" for candidate, flag in FLAGS.items() if flag.type is bool or flag.alone]
    near = difflib.get_close_matches(
        name.replace("-", "_"), [*_KNOWN, *booleans, "flagfile", "config", "helpfull", "version"]
    )
    hint = f"; did you mean {' or '.join(f'--{candidate}' for candidate in near)}?" if near else "; see --help"
    raise _Fault(f"unknown flag --{name}{hint}")


def _take(name: str, text: str | None, rest: deque[str]) -> str:
    """The value of a flag: `text`, or else the next word."""
    if text is not None:
        return text
    if not rest or _looks_like_flag(rest[0]):
        found = f", and {rest[0]} follows" if rest else ""
        raise _Fault(f"--{name} needs a value{found}; write --{name}=...")
    return rest.popleft()


def _looks_like_flag(word: str) -> bool:
    """Whether a word is no value; `-1` and a file named `-x` are values, `-epochs=3` is a flag."""
    return word.startswith("--") or (word.startswith("-") and word[1:].partition("=")[0] in _KNOWN)


def _take_bool(name: str, text: str | None, rest: deque[str]) -> str:
    if text is not None:
        return text
    return rest.popleft() if rest and rest[0].lower() in _TRUE + _FALSE else "true"


def _read_value(name: str, flag: Flag, text: str) -> Value:
    if "\n" in text or "\r" in text:
        raise _Fault(f"--{name} {text!r}: a value cannot have a line break")
    text = text.strip()
    if flag.default is None and not text:
        return None
    if flag.placeholder and text.startswith("<") and text.endswith(">"):
        text = ""
    value: Value | None = text
    if flag.type is bool:
        value = _bool_of(text)
    elif flag.type is int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    elif flag.type is float:
        value = _float_of(text) if "_" not in text else None
    elif flag.type is tuple:
        value = tuple(item.strip() for item in text.split(",") if item.strip())
    if value is None or not _is_allowed(flag, value):
        raise _Fault(f"--{name} {text or repr('')}: must be {flag.allowed}{_nearest(flag, text)}")
    return value


def _read_values(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """The values of a repeatable flag; an empty text is none."""
    if any("\n" in text or "\r" in text for text in texts):
        raise _Fault(f"--{name}: a value cannot have a line break")
    return tuple(filter(None, (text.strip() for text in texts)))


def _is_allowed(flag: Flag, value: Value) -> bool:
    if flag.type in (int, float):
        return flag.allows(value)
    if flag.type is tuple and flag.choices:
        return set(value) <= set(flag.choices)
    return not flag.choices or value in flag.choices or value == flag.default


def _bool_of(text: str) -> bool | None:
    return True if text.lower() in _TRUE else False if text.lower() in _FALSE else None


def _float_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _nearest(flag: Flag, text: str) -> str:
    """A hint at the allowed value that is nearest to `text`, where there is one."""
    if flag.choices:
        if flag.type is tuple:
            text = next(item.strip() for item in text.split(",") if item.strip() and item.strip() not in flag.choices)
        near = difflib.get_close_matches(text.lower(), flag.choices, n=1, cutoff=0.5)
        return f"; did you mean {near[0]}?" if near else ""
    number = _float_of(text)
    if flag.type not in (int, float) or number is None or not math.isfinite(number):
        return ""
    low = flag.at_least if flag.at_least is not None else -LARGEST_INT
    high = flag.at_most if flag.at_most is not None else LARGEST_INT
    near = min(max(round(number) if flag.type is int else number, low), high)
    return f"; the nearest is {near}" if flag.allows(near) else ""


def _is_default(name: str, flag: Flag, text: str) -> bool:
    """Whether `text` is the ancestor's default of a flag of OBSOLETE or TO_COME."""
    text = text.strip()
    if flag.type is bool:
        if _bool_of(text) is None:
            raise _Fault(f"--{name} {text}: must be {flag.allowed}")
        return _bool_of(text) == flag.default
    if flag.type in (int, float):
        return _float_of(text) == flag.default
    return text == flag.default


def _value_of_json(name: str, flag: Flag, value: Any) -> Value:
    if value is None and flag.default is None:
        return None
    kinds = {float: (int, float), tuple: (list, tuple)}.get(flag.type, (flag.type,))
    fits = isinstance(value, kinds) and (flag.type is bool or not isinstance(value, bool))
    if fits and flag.type is tuple:
        fits = all(isinstance(item, str) for item in value)
    if not fits or not _is_allowed(flag, value):
        raise ValueError(f"--{name} {value!r}: must be {flag.allowed}")
    return flag.type(value)


def _config_of(values: Mapping[str, Value]) -> Config:
    return Config(
        **{
            part.name: part.type(**{e.name: values[e.name] for e in fields(part.type) if e.name in values})
            for part in fields(Config)
        }
    )


def _check_files(config: Config) -> None:
    values = as_dict(config)
    for name, flag in FLAGS.items():
        if flag.is_file and values[name] and not Path(values[name]).is_file():
            found = "this is a folder, not a file" if Path(values[name]).is_dir() else "no such file"
            raise FlagError(f"--{name} {values[name]}: {found}")


def _check_together(config: Config) -> None:
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
    if set(transfer.freeze_layers) == set(LAYERS):
        raise FlagError("--freeze_layers has all layers: there is nothing left to train")
    if "layer_1" in transfer.freeze_layers and config.geometry.normalise_features:
        raise FlagError(
            "--normalise_features changes what layer_1 is fed with, --freeze_layers keeps it as it is: leave one out"
        )
    if transfer.reuse_characters and config.decoder.bytes_output_mode:
        raise FlagError(
            "--reuse_characters with --bytes_output_mode: bytes are no characters; leave one of the two out"
        )
    if transfer.reuse_characters and transfer.drop_source_layers > 1:
        raise FlagError(
            f"--reuse_characters with --drop_source_layers {transfer.drop_source_layers}: the weights of a character "
            "mean nothing above a layer that is new\nLeave one of the two out."
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


def _notices_on(config: Config) -> list[str]:
    """Lines on flags that have no effect beside the others."""
    notices = []
    if config.data.train_files and not config.data.dev_files:
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


EXAMPLE = """\
deepspeech-train --train_files train.csv --dev_files dev.csv --test_files test.csv \\
    --train_batch_size 32 --dev_batch_size 32 --test_batch_size 32 --n_hidden 512 --epochs 30 \\
    --early_stop --checkpoint_dir persistent-data/checkpoints/first"""
_SYNTAX = (
    "Flags are written as --flag value or --flag=value, switches as --flag, --noflag or --flag=false, lists with "
    "commas and without spaces. --flagfile FILE reads flags from a file, one on each line, where # and // start a "
    "comment. The last value of a flag counts; of --augment, all. --config FILE reads them from YAML (`epochs: 30`); a "
    "flag that is given beside it counts instead."
)
_OBSOLETE_TITLE = "Obsolete flags: accepted, without an effect"
_TO_COME_TITLE = "Flags of DeepSpeech and Coqui STT that are to come: refused for now"


def format_help(width: int, *, full: bool = False) -> str:
    """The text of --help, or with `full` that of --helpfull, which has the obsolete flags and those to come too."""

    def wrap(text: str, indent: str) -> str:
        return textwrap.fill(
            text, max(width, 40), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )

    lines = [wrap("Train a small streaming speech-to-text model, test it and use it.", ""), "", "Example:", ""]
    lines += [f"  {line}" for line in EXAMPLE.splitlines()] + ["", wrap(_SYNTAX, "")]
    for part in fields(Config):
        lines += ["", f"{part.metadata['title']}:"]
        for entry in fields(part.type):
            known = FLAGS[entry.name]
            lines += [wrap(_usage(entry.name, known), "  "), wrap(known.whole_help, "      ")]
    lines += ["", "Help:", "  --help, --helpfull", wrap("this text; --helpfull has the obsolete flags too", "      ")]
    lines += ["  --version", wrap("the version of this program", "      ")]
    if full:
        lines += ["", f"{_OBSOLETE_TITLE}:"]
        for name, known in OBSOLETE.items():
            lines.append(wrap(f"--{name} {known.help}", "  "))
        lines += ["", f"{_TO_COME_TITLE}:"]
        for family in TO_COME.values():
            for name, known in family.items():
                lines.append(wrap(f"--{name} {known.help}", "  "))
    return "\n".join(lines) + "\n"


def _usage(name: str, flag: Flag) -> str:
    """The first line on a flag in --help.

    >>> _usage("checkpoint_secs", FLAGS["checkpoint_secs"])
    '--checkpoint_secs SECONDS   (default: 600)'
    """
    if flag.type is bool:
        words = f"--[no]{name}"
    elif flag.choices:
        words = f"--{name} {(',' if flag.type is tuple else '|').join(flag.choices)}"
    else:
        kinds = {int: "NUMBER", float: "NUMBER", tuple: "FILE,FILE,..."}
        value = flag.unit.upper() or kinds.get(flag.type, "PATH")
        words = f"--{name} [{value}]" if flag.alone else f"--{name} {value}"
    return f"{words}   (default: {flag.default_text})"


def flags_markdown() -> str:
    """The text of docs/flags.md."""
    lines = [
        "# Flags",
        "",
        "Written by `python bin/make_docs.py` from `deepspeech_training/config/__init__.py`; do not edit it here.",
        "",
        _SYNTAX,
        "",
        "```sh",
        *EXAMPLE.splitlines(),
        "```",
    ]
    for part in fields(Config):
        lines += ["", f"## {part.metadata['title']}", "", "| flag | default | unit | meaning |", "|---|---|---|---|"]
        for entry in fields(part.type):
            known = FLAGS[entry.name]
            choices = f" One of {', '.join(f'`{choice}`' for choice in known.choices)}." if known.choices else ""
            default = known.default_text if known.default in ("", ()) or known.default_is else f"`{known.default_text}`"
            lines.append(f"| `--{entry.name}` | {default} | {known.unit} | {known.whole_help}.{choices} |")
    lines += ["", f"## {_OBSOLETE_TITLE}", "", "| flag | |", "|---|---|"]
    lines += [f"| `--{name}` | {known.help} |" for name, known in OBSOLETE.items()]
    lines += ["", f"## {_TO_COME_TITLE}"]
    for title, family in TO_COME.items():
        lines += ["", f"### {title}", "", "| flag | |", "|---|---|"]
        lines += [f"| `--{name}` | {known.help} |" for name, known in family.items()]
    return "\n".join(lines) + "\n"
