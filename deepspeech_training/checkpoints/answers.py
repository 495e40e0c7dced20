"""How a network answers to speech and to silence, computed without TensorFlow: a deaf one gives the same to both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.audio.synthetic_speech import SMOKE_SENTENCE, synthesize
from deepspeech_training.decoding.greedy import greedy_labels
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.models.reference import softmax
from deepspeech_training.reporting.evidence import Answers
from deepspeech_training.runtime.commands import SpokenCommandModel
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.runtime.stream import to_int16

MOST_SECONDS = 20  # of a clip


def answers_of_weights(
    weights: Mapping[str, np.ndarray],
    features: FeatureGeometry,
    network: AcousticModel,
    alphabet: Alphabet | ByteAlphabet | None,
    clip: str | None,
    *,
    classes: Sequence[str] = (),
) -> tuple[Answers | None, str]:
    """Run a network in numpy.

    Args:
        alphabet: None where it is not known; there is no text then.
        classes: of a network whose answer is one of them for the whole clip, and which has no blank.
        clip: an audio file; None for a synthetic sentence.
    Returns:
        The answers, None where they are not finite; and what it has heard, in words.
    Raises:
        UserError: the clip cannot be used.
    """
    audio, name = _speech(clip, features)
    alive: dict[str, np.ndarray] = {}
    at_limit: dict[str, list[float]] = {}

    def observe(layer: str, active: np.ndarray | None, share: float) -> None:
        if active is not None:
            alive[layer] = alive.get(layer, np.zeros_like(active)) | active
        at_limit.setdefault(layer, []).append(share)

    mfcc = Mfcc(features, dtype=np.float64)

    def log_probs(sound: np.ndarray) -> np.ndarray:
        logits = network.reference(weights, mfcc(with_last_frame(sound, features)), observe=observe)
        return _log(softmax(logits.astype(np.float64)))

    with np.errstate(over="ignore", invalid="ignore"):
        speech, silence = log_probs(audio), log_probs(_silence_like(audio))
    if not (np.isfinite(speech).all() and np.isfinite(silence).all()):
        return None, name
    text = "" if alphabet is None else alphabet.decode(greedy_labels(speech, blank=alphabet.blank))
    compared = _compared(speech, silence, text=text, clip=clip)
    if classes:
        compared = replace(compared, text=classes[int(speech.mean(axis=0).argmax())], blank_share=0.0)
    answers = replace(
        compared,
        dead={layer: round(1 - float(units.mean()), 6) for layer, units in alive.items()},
        saturated={layer: round(float(np.mean(shares)), 6) for layer, shares in at_limit.items()},
    )
    return answers, name


def answers_of_export(file: ModelFile, clip: str | None) -> tuple[Answers, str]:
    """The same for an exported model, in the runtime; it shows nothing of single layers."""
    with without_delegate_notice():
        if file.commands is not None:
            return answers_of_commands(SpokenCommandModel(file, num_threads=1), clip)
        return answers_of_model(Model(file, num_threads=1), clip)


def answers_of_commands(model: SpokenCommandModel, clip: str | None) -> tuple[Answers, str]:
    """The same for a model of commands, which has no blank: its text is the class of the whole clip."""
    audio, name = _speech(clip, model.file.geometry)
    speech, silence = (
        _log(model.probabilities(to_int16(sound)).astype(np.float64)) for sound in (audio, _silence_like(audio))
    )
    text = model.labels[int(speech.mean(axis=0).argmax())]
    return replace(_compared(speech, silence, text=text, clip=clip), blank_share=0.0), name


def answers_of_model(model: Model, clip: str | None) -> tuple[Answers, str]:
    """The same for one that is loaded."""
    file = model.file
    audio, name = _speech(clip, file.geometry)

    def log_probs(sound: np.ndarray) -> np.ndarray:
        return _log(model.probabilities(to_int16(sound)).astype(np.float64))

    speech = log_probs(audio)
    text = file.text(greedy_labels(speech, blank=len(file.labels)))
    return _compared(speech, log_probs(_silence_like(audio)), text=text, clip=clip), name


def _speech(clip: str | None, features: FeatureGeometry) -> tuple[np.ndarray, str]:
    """float32 [samples] and what it is."""
    if clip is None:
        audio = synthesize(SMOKE_SENTENCE, sample_rate=features.sample_rate, seed=1993, pitch_hz=130.0, rate=1.25)
        return audio, f"a synthetic voice that says {SMOKE_SENTENCE!r}"
    try:
        audio = read_audio(clip, sample_rate=features.sample_rate)
    except AudioError as error:
        raise UserError(f"--clip {clip}: {error}") from error
    if features.num_frames(len(audio)) < 1:
        raise UserError(f"--clip {clip}: shorter than one window of {features.win_len_ms} ms")
    return audio[: MOST_SECONDS * features.sample_rate], clip


def _silence_like(audio: np.ndarray) -> np.ndarray:
    return (1e-3 * np.random.Generator(np.random.PCG64(0)).standard_normal(len(audio))).astype(np.float32)


def _log(probabilities: np.ndarray) -> np.ndarray:
    logarithms: np.ndarray = np.log(np.maximum(probabilities, 1e-30))
    return logarithms


def _compared(speech: np.ndarray, silence: np.ndarray, *, text: str, clip: str | None) -> Answers:
    """Log probabilities float64 [frames, classes] of the two sounds -> how they differ."""
    return Answers(
        blank_share=float((speech.argmax(axis=1) == speech.shape[1] - 1).mean()),
        text=text,
        difference=float(np.abs(speech - silence).max()),
        is_synthetic=clip is None,
    )
