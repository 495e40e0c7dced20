"""Text mode: --text_data, transcripts or texts among recordings -> a language model and a scorer. It takes the CPU."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, Labels
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.source import source_of_evaluation
from deepspeech_training.config import Config
from deepspeech_training.console import Console
from deepspeech_training.data.folder import scan
from deepspeech_training.data.shard_folder import csvs_of_sets
from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import Exported
from deepspeech_training.reporting.session_log import SessionLog
from deepspeech_training.tasks.speech_to_text.labels import given_alphabet, trained_alphabet
from deepspeech_training.training.run import Call


def build(call: Call, alphabet: Labels | None) -> Path:
    """Build the scorer of the texts that the flags name; -> its path. `alphabet` is the run's, if it says one."""
    from deepspeech_training.scorer.build import Estimation, Package, build_scorer

    if alphabet is None:
        alphabet = _alphabet(call.config, call.console)
    package = _folder(call.config) / "model.scorer"
    texts, csvs = _texts(call.config, call.console)
    build_scorer(Package(str(package), alphabet), Estimation(), texts=texts, csvs=csvs, console=call.console)
    call.events.emit(Exported(str(package), checkpoint=""))
    call.console.info(f"The scorer is {package}")
    return package


def build_alone(call: Call) -> tuple[Path, SessionLog]:
    """The same for a call that does nothing else: it has a session log of its own, and no run says the alphabet."""
    folder = _folder(call.config)
    log = call.begin_log(folder.parent / "logs" if call.config.checkpoint.output_dir else folder / "logs")
    log.update(mode=call.device.mode)
    call.say_kind()
    return build(call, None), log


def _folder(config: Config) -> Path:
    return Path(config.checkpoint.output_dir or "persistent-data") / "scorer"


def _alphabet(config: Config, console: Console) -> Labels:
    """The flag's, else that of the checkpoint beside which the scorer will be used, else English."""
    given = given_alphabet(config.decoder)
    if given is not None:
        return given
    folder = CheckpointFolder(config.checkpoint.load_dir, console)
    if folder.has("best") or folder.has("train"):
        newest = source_of_evaluation(replace(config.checkpoint, load_evaluate="auto"), (), folder)
        return trained_alphabet(newest.checkpoint, None, console)
    console.info("The scorer is for the English alphabet of the package")
    return Alphabet.english()


def _is_text(name: str) -> bool:
    return name.lower().endswith((".txt", ".txt.gz", ".csv"))


def text_files(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The text files and the CSVs that --text_data means; of a folder all *.txt, *.txt.gz and *.csv below it.

    Raises:
        UserError: there is no such file, or none in a folder.
    """
    texts: list[str] = []
    csvs: list[str] = []
    for name in paths:
        path = Path(name)
        if not path.exists():
            raise UserError(f"--text_data {name}: no such file or folder")
        inside = sorted(path / name for name in names_below(path, _is_text)) if path.is_dir() else [path]
        for file in inside:
            (csvs if file.suffix.lower() == ".csv" else texts).append(str(file))
        if path.is_dir() and not inside:
            raise UserError(f"--text_data {name}: there is no .txt, .txt.gz or .csv in this folder")
    return texts, csvs


def _texts(config: Config, console: Console) -> tuple[list[str], list[str]]:
    """Text files and CSVs: --text_data, else --train_files, else the texts among the recordings."""
    texts, csvs = text_files(config.voice.text_data)
    if not texts and not csvs:
        csvs = list(csvs_of_sets({"train": config.data.train_files})["train"])
    if not texts and not csvs:
        texts = [str(path) for path in scan(Path(config.voice.voice_data_dir), console).texts]
    return texts, csvs
