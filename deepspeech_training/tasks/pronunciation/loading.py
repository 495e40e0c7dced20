"""An exported model of words, or a folder of checkpoints -> a model of words to use; no TensorFlow."""

from pathlib import Path

from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.models.word_model import WordModel
from deepspeech_training.runtime.pronouncer import Pronouncer
from deepspeech_training.runtime.pronunciation_file import SUFFIX, PronunciationFile
from deepspeech_training.tasks.pronunciation.setup import direction_of


def load_pronouncer(
    path: str | Path, *more: str | Path, which: str = "auto", console: Console | None = None
) -> Pronouncer:
    """A model of `--task word_to_ipa` or `ipa_to_word`, or an ensemble of several.

    Args:
        path: an exported model, the folder of an export, or a folder of checkpoints.
        more: further ones, of the same symbols: answers are then those of the mean of their probabilities.
        which: of the checkpoints: "best", "last" or "auto", which is the best, without one the last.
        console: gets warnings of damaged checkpoints.
    Raises:
        UserError: there is none, all are damaged, or they are of another task or other symbols.
    """
    first = _load(Path(path), which, console or Console())
    if not more:
        return first
    members = [first]
    for other in more:
        members.append(_load(Path(other), which, console or Console()))
        if (members[-1].source, members[-1].target) != (first.source, first.target):
            raise UserError(
                f"{other}: it was trained with other symbols than {path}, so that the two cannot answer together\n"
                "Train all on the same words in the same direction, with the same --dev_files."
            )
    return Pronouncer.together(members)


def _load(path: Path, which: str, console: Console) -> Pronouncer:
    exported = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path] if path.exists() else []
    if len(exported) > 1:
        raise UserError(f"{path}: it has {len(exported)} exported models; name one of them")
    if exported:
        return PronunciationFile.read(exported[0]).pronouncer()
    checkpoints = CheckpointFolder(path, console)
    for kind in {"auto": ("best", "train"), "best": ("best",), "last": ("train",)}[which]:
        checkpoint = checkpoints.load(kind)
        if checkpoint is None:
            continue
        model = checkpoint.model
        network = model.network
        if not isinstance(network, WordModel):
            raise UserError(
                f"{checkpoint.path}: a model of the task {model.task}, which has nothing to do with words; train one "
                "with --task word_to_ipa or ipa_to_word (docs/pronunciation.md)"
            )
        direction = direction_of(model, str(checkpoint.path))
        return Pronouncer.of(network, checkpoint.weights, direction.source, direction.target)
    there = (
        f"no {'' if which == 'auto' else which + ' '}checkpoint in it, and no exported model of words"
        if path.is_dir()
        else "there is no such file or folder"
    )
    raise UserError(
        f"{path}: {there}\nName the folder that --checkpoint_dir of a training with --task word_to_ipa has named, or "
        "what `deepspeech export` has written."
    )
