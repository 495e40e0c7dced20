"""What is to be trained, and how: the flags on the volume and the data there -> words for `deepspeech train`."""

import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.alphabet import alphabet_of_flags
from deepspeech_training.app import corpora
from deepspeech_training.app.corpora import CommandClips, Material
from deepspeech_training.app.volume import CONFIG_FILE, FLAGFILE, Volume
from deepspeech_training.config import Config, ParsedFlags, as_dict
from deepspeech_training.config.flag import join_list
from deepspeech_training.config.parsing import parse_flags
from deepspeech_training.config.presets import PRESETS, suited
from deepspeech_training.config.private import PRIVATE, private_values, variables_of, without_private
from deepspeech_training.console import Console
from deepspeech_training.data.shard_folder import csvs_of_sets
from deepspeech_training.errors import FlagError
from deepspeech_training.models import DEFAULT_NETWORK, model_class

SPEECH, COMMANDS = "speech_to_text", "spoken_command"
VARIABLE = "TRAIN_FLAGS"
OF_A_PRESET = frozenset(name for preset in PRESETS.values() for name in preset.values)
# For less than an hour: the flags of bin/run-commands.sh, whose scorer is for clips that repeat the same few texts.
LITTLE_DATA_H = 1.0
RECIPE = shlex.split(
    "--n_hidden 256 --train_batch_size 32 --dev_batch_size 32 --test_batch_size 32 --epochs 35 --best_by wer "
    "--learning_rate 0.002 --lr_schedule cosine --warmup_epochs 1 --ema 0.99 --max_grad_norm 5 --dropout_rate 0.25 "
    "--leading_blanks 9 --augment gain[db=-7.5~17.5] --augment noise[p=0.7,snr=27~20,slope=-3~3] "
    "--augment vtlp[factor=1~0.12] --augment pitch[p=0.7,pitch=1~0.15] --augment tempo[p=0.8,factor=1.2~0.6] "
    "--augment equalizer[p=0.7,db=0~6] --augment silence[p=0.7,before=150~150,after=150~150,dbfs=-55~25] "
    "--train_scorer --automatic_mixed_precision"
)
# Those of bin/run-an4.sh without its scorer, which would write no words but those of the training clips: for sentences.
RECIPE_OF_SENTENCES = shlex.split(
    "--automatic_mixed_precision --train_batch_size 16 --dev_batch_size 32 --test_batch_size 32 "
    "--best_by wer --lr_schedule cosine --ema 0.99 --max_grad_norm 5 --augment vtlp[factor=1~0.12] "
    "--augment speed[p=0.6,factor=1~0.1] --n_hidden 256 --layer_norm --cr_ctc 0.2 --epochs 80 "
    "--learning_rate 0.002 --warmup_epochs 1 --dropout_rate 0.2"
)
SENTENCES = 500  # clips, from which on that recipe is taken: it was measured with 818
# The flags of bin/run-speech-commands.sh, for spoken commands.
RECIPE_OF_COMMANDS = shlex.split(
    "--train_batch_size 16 --epochs 60 --learning_rate 0.003 --lr_schedule cosine --warmup_epochs 2 --ema 0.995 "
    "--max_grad_norm 5 --dropout_rate 0.1 --augment gain[db=-7.5~17.5] --augment noise[p=0.7,snr=27~20,slope=-3~3] "
    "--augment vtlp[factor=1~0.12] --augment equalizer[p=0.7,db=0~6] --augment speed[p=0.7,factor=1~0.15] "
    "--augment silence[p=0.8,before=300~300,after=150~150,dbfs=-55~25] --augment time_mask[p=0.6,n=2,size=60~60]"
)
# Fewer clips than it was made for: smaller batches and more epochs, so that there are as many steps. With 70 steps (60
# takes in batches of 32) a model writes nothing.
RECIPE_STEPS = 1575  # 35 epochs of 1,440 clips
SMALLER_BATCHES = ((500, 32), (160, 16), (0, 8))  # from so many clips on
MOST_EPOCHS = 300
TIMES_SAID = 3  # on average, of a text, so that it counts as a command
# What the app sets itself for each step, whatever the flags say.
NOT_TO_TRAIN = ("--train_files=", "--dev_files=", "--metrics_files=", "--voice_data_dir=", "--text_data=")
ONLY_TO_TRAIN = ("--test_files=", "--export_dir=", "--one_shot_infer=")


@dataclass(frozen=True)
class Order:
    """A training that is wanted.

    Args:
        name: of the model.
        words: flags, as the person has given them and as the data asks for.
        test_files: CSVs to test on.
        folder: of its checkpoints.
        fingerprint: of flags and data: another one is another training.
        owns_folder: the folder is the app's own, so that a finished training there is the one that is wanted.
        export_dir: that the flags name, or "".
        scorer: that the model is decoded with, or "".
        preset: the settings that were chosen by the hours of data, in words, or "".
        hours: of training data; None where the flags name data that the app does not look at.
        says: what was found, for a person.
        variables: of the environment, with what must not stand in `words`: addresses with tokens.
        size_flag: what makes the network larger or smaller; empty where the app does not know it.
    """

    name: str
    words: tuple[str, ...]
    test_files: tuple[str, ...]
    folder: Path
    fingerprint: str
    owns_folder: bool
    export_dir: str
    scorer: str
    preset: str
    hours: float | None
    says: tuple[str, ...]
    variables: Mapping[str, str]
    size_flag: str
    listens: bool = False  # the export fits a threshold on --dev_files

    @property
    def train(self) -> list[str]:
        return ["train", *self.words, *ONLY_TO_TRAIN]

    @property
    def test(self) -> list[str]:
        return ["test", *self.words, *NOT_TO_TRAIN, *ONLY_TO_TRAIN, f"--test_files={join_list(self.test_files)}"]

    @property
    def less_memory(self) -> str:
        """What to do where training takes too much."""
        return "lower --train_batch_size" + (f" or --{self.size_flag}" if self.size_flag else "")

    def export(self, folder: Path) -> list[str]:
        """The best checkpoint, compared on the test set."""
        unneeded = [word for word in NOT_TO_TRAIN if not (self.listens and word == "--dev_files=")]
        words = ["export", *self.words, *unneeded, *ONLY_TO_TRAIN, f"--test_files={join_list(self.test_files)}"]
        return [*words, f"--export_dir={folder}", "--remove_export"]

    def register(self, export_dir: Path, registry: Path) -> list[str]:
        """An export as a version of the registry; it is promoted unless it is worse than the version that is."""
        words = ["models", "register", str(export_dir), f"--name={self.name}", f"--dir={registry}"]
        words += [f"--scorer={self.scorer}"] if self.scorer else []
        return [*words, f"--checkpoint_dir={self.folder}", f"--test_files={join_list(self.test_files)}"]


def find_order(volume: Volume, environment: Mapping[str, str], name: str, console: Console) -> Order | None:
    """Look for what is to be trained; writes the CSVs and the alphabet that are made of it.

    Returns:
        None where there is no data.
    Raises:
        UserError: flags or data cannot be used.
    """
    words, where = flags_of(volume, environment)
    parsed = parse_flags(words)
    if parsed.help_wanted or parsed.version_wanted:
        raise FlagError(f"{where}: it asks for help or the version; it has the flags of a training")
    material = _material(volume, parsed, console)
    if material is None and not _names_data(parsed.config):
        return None
    says = [f"Flags of {where}"] if words else []
    preset, more = "", list[str]()
    if material is not None and not ({"preset"} | OF_A_PRESET) & parsed.given:
        preset, more = _suited(material, parsed.config.geometry.network)
    fingerprint = _fingerprint(parsed, material, more)
    checkpoint = parsed.config.checkpoint
    owns_folder = not {"checkpoint_dir", "save_checkpoint_dir", "output_dir"} & parsed.given
    folder = volume.checkpoints / f"{name}-{fingerprint}" if owns_folder else checkpoint.save_dir
    variables = variables_of(private_values(parsed.config, {}))
    words = [*more, *without_private(words), *([f"--checkpoint_dir={folder}"] if owns_folder else [])]
    test_files, hours = parsed.config.data.test_files, None
    if material is not None:
        data = volume.checkpoints / f"{name}-{fingerprint}" / "app_data"
        csvs = material.write(data)
        words += ["--voice_data_dir=", *(f"--{name}_files={join_list(paths)}" for name, paths in csvs.items())]
        if alphabet := material.alphabet_flag(data):
            words.append(f"--alphabet_config_path={alphabet}")
        test_files, hours = csvs.get("test", ()), material.hours
        says += material.says
        if preset:
            says.append(f"{hours:.2f} hours to train on: {preset}" if hours is not None else preset)
    export_dir = parsed.config.export.export_dir
    config = parse_flags(words).config  # a fault of them together is told before anything is begun
    scorer = str(folder / "train.scorer") if config.decoder.train_scorer else config.decoder.scorer_file
    return Order(
        name,
        tuple(words),
        test_files,
        folder,
        fingerprint,
        owns_folder,
        export_dir,
        scorer,
        preset,
        hours,
        tuple(says),
        variables,
        model_class(config.geometry.network).size_flag if config.training.task == SPEECH else "",
        listens=bool(config.commands.other_speech_files),
    )


def flags_of(volume: Volume, environment: Mapping[str, str]) -> tuple[list[str], str]:
    """The flags that a person has given, and where; the first of three places counts.

    Raises:
        FlagError: TRAIN_FLAGS has a quote that does not close.
    """
    if text := environment.get(VARIABLE, "").strip():
        try:
            return shlex.split(text), VARIABLE
        except ValueError as error:
            found = "" if any(name in text for name in PRIVATE) else f"\n  found  {text}"  # no tokens on the page
            raise FlagError(f"{VARIABLE}: {error}{found}") from error
    for name, flag in ((FLAGFILE, "--flagfile"), (CONFIG_FILE, "--config")):
        if (path := volume.root / name).is_file():
            return [flag, str(path)], str(path)
    return [], ""


def _names_data(config: Config) -> bool:
    return bool(config.data.train_files or config.voice.voice_data_dir or config.voice.text_data)


def _material(volume: Volume, parsed: ParsedFlags, console: Console) -> Material | CommandClips | None:
    """The clips of the flags, else of the volume; None where there are none, or where the task needs no clips."""
    config = parsed.config
    if config.training.task not in (SPEECH, COMMANDS):
        return None
    decoder = config.decoder
    named = alphabet_of_flags(decoder.alphabet_config_path, bytes_output_mode=decoder.bytes_output_mode)
    may_drop = config.data.on_bad_row == "drop"
    given = {"train": config.data.train_files, "dev": config.data.dev_files, "test": config.data.test_files}
    given = csvs_of_sets({name: paths for name, paths in given.items() if paths})
    if config.training.task == COMMANDS:
        return corpora.commands_in(volume.corpora, given)
    if "train" in given:
        return corpora.of_csvs(given, named, console)
    if config.voice.voice_data_dir:
        return corpora.of_recordings(Path(config.voice.voice_data_dir), named, console, named=given)
    if config.voice.text_data:
        return None
    return corpora.find(volume.corpora, named, console, named=given, may_drop=may_drop)


def _suited(material: Material | CommandClips, network: str) -> tuple[str, list[str]]:
    """Settings for so many hours of training data: in words, and as flags."""
    if isinstance(material, CommandClips):
        return "the settings of bin/run-speech-commands.sh", RECIPE_OF_COMMANDS
    if material.hours >= LITTLE_DATA_H or network != DEFAULT_NETWORK:
        preset = suited(material.hours)
        return f"--preset {preset}, for {PRESETS[preset].expect}", [f"--preset={preset}"]
    if material.times_said < TIMES_SAID and material.num_clips >= SENTENCES:
        return "the settings of bin/run-an4.sh, for sentences", RECIPE_OF_SENTENCES
    epochs, size, words = _for_clips(material.num_clips)
    length = f", {epochs} epochs in batches of {size}"
    if material.times_said >= TIMES_SAID:
        return f"the settings of bin/run-commands.sh{length}, for commands: no other words are written", words
    without = [word for word in words if word != "--train_scorer"]
    return f"the settings of bin/run-commands.sh{length}, for little data", without


def _for_clips(num_clips: int) -> tuple[int, int, list[str]]:
    """Epochs, batch size, and the flags of RECIPE with them, for so many clips to train on.

    >>> [_for_clips(clips)[:2] for clips in (4, 48, 200, 600, 1440, 5000)]
    [(300, 8), (263, 8), (122, 16), (83, 32), (35, 32), (35, 32)]
    """
    size = next(size for least, size in SMALLER_BATCHES if num_clips >= least)
    recipe_epochs = int(RECIPE[RECIPE.index("--epochs") + 1])
    epochs = min(MOST_EPOCHS, max(recipe_epochs, math.ceil(RECIPE_STEPS / max(1, math.ceil(num_clips / size)))))
    more = {"--epochs": f"{epochs}", "--train_batch_size": f"{size}"}
    more["--warmup_epochs"] = f"{max(1, round(epochs / recipe_epochs))}"
    return epochs, size, [more.get(flag, word) for flag, word in zip(["", *RECIPE], RECIPE, strict=False)]


def _fingerprint(parsed: ParsedFlags, material: Material | CommandClips | None, settings: Sequence[str]) -> str:
    """Of the flags that are given, of those that the app has chosen, and of the data; not of where it lies."""
    values = as_dict(parsed.config)
    given: Sequence[tuple[str, object]] = sorted((name, values[name]) for name in parsed.given if name not in PRIVATE)
    digest = hashlib.sha256(json.dumps([given, settings]).encode())
    for part in material.contents() if material else ():
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:8]
