"""Small networks of words with random weights, as checkpoints and as exported models."""

from pathlib import Path

import numpy as np

from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.config import Config, as_dict
from deepspeech_training.console import Console
from deepspeech_training.data.spelling import LETTERS, SPACED_PHONES, Spelling
from deepspeech_training.models.lstm import Lstm
from deepspeech_training.models.transformer import Transformer
from deepspeech_training.models.word_model import WordModel
from deepspeech_training.runtime.pronunciation_file import write_pronunciation
from deepspeech_training.tasks.pronunciation.samples import Direction
from deepspeech_training.tasks.pronunciation.task import WordTask
from deepspeech_training.training.loop import RunState

LETTERS_GIVEN = Spelling(LETTERS, tuple("abcdefg"))
PHONES_WRITTEN = Spelling(SPACED_PHONES, ("eɪ", "b", "tʃ", "d", "iː", "f"))
TRANSFORMER = Transformer(7, 9, d_model=16, layers=2, heads=2)
LSTM = Lstm(7, 9, n_hidden=8)


def random_word_weights(network: WordModel) -> dict[str, np.ndarray]:
    weights = network.initial_weights(seed=1)
    weights["output/weights"] = 3 * weights["output/weights"]  # answers of several lengths
    return weights


def save_words_checkpoint(folder: Path, network: WordModel) -> Path:
    """Write a best checkpoint as a training leaves it, as far as other commands read it."""
    folder.mkdir(parents=True, exist_ok=True)
    task = WordTask(Direction(True, LETTERS_GIVEN, PHONES_WRITTEN), network)
    state = {
        **task.describe(),
        "run": RunState(learning_rate=0.001, epoch=1, step=1, updates=1).as_json(),
        "precision": "float32",
        "flags": as_dict(Config()),
    }
    return CheckpointFolder(folder, Console()).save_best(1, state, lambda: random_word_weights(network))


def exported_words(
    network: WordModel = TRANSFORMER,
    *,
    task: str = "word_to_ipa",
    source: Spelling = LETTERS_GIVEN,
    quantize: bool = False,
) -> bytes:
    return write_pronunciation(
        random_word_weights(network),
        task=task,
        source=source,
        target=PHONES_WRITTEN,
        network=network,
        language="en",
        quantize=quantize,
    )
