"""A checkpoint of speech to text -> the exported model, compared with its checkpoint in the runtime that ships."""

from collections.abc import Sequence

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.audio.synthetic_speech import SMOKE_CLIP, SMOKE_SENTENCE
from deepspeech_training.checkpoints.describe import SpeechModel
from deepspeech_training.config.groups import ExportFlags
from deepspeech_training.console import Console
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.errors import UserError
from deepspeech_training.exporting import parity
from deepspeech_training.exporting.folder import ExportedModel
from deepspeech_training.models.tflite import ExportSettings, write_tflite


def export_speech(
    model: SpeechModel,
    samples: Sequence[SpeechSample],
    *,
    export: ExportFlags,
    language: str,
    console: Console,
    scorer_path: str = "",
) -> ExportedModel:
    """Make the file of a model, and compare it with its checkpoint.

    Args:
        model: the checkpoint.
        samples: of test sets, to compare on; without any the clip of the package is taken.
        language: stored in the model for people.
        scorer_path: of what `--export_zip` packs too.
    Raises:
        UserError: it cannot be exported, or differs from the checkpoint by more than is allowed.
    """
    files = {}
    for kind, quantize in (("float32", False), ("int8", True)):
        settings = ExportSettings(quantize, export.n_steps, export.export_beam_width, language)
        files[kind] = write_tflite(
            model.weights,
            alphabet=model.alphabet,
            features=model.features,
            network=model.network,
            settings=settings,
        )
    exported = "int8" if export.export_quantize else "float32"
    comparison = parity.compare(
        files,
        _clips(model, samples, console),
        weights=model.weights,
        alphabet=model.alphabet,
        features=model.features,
        network=model.network,
        exported=exported,
        max_wer_increase=export.export_max_wer_increase,
        wer_is_judged=bool(samples),
    )
    for line in comparison.lines():
        console.info(line)
    if comparison.faults:
        raise UserError(
            "The exported model does not compute what the checkpoint does; nothing was exported:\n"
            + "\n".join(comparison.faults)
            + "\nIf it is the WER of the 8-bit model: --noexport_quantize exports 32 bits, or raise "
            "--export_max_wer_increase."
        )
    return ExportedModel(files[exported], exported, model.name, comparison.as_json(exported), scorer_path=scorer_path)


def _clips(model: SpeechModel, samples: Sequence[SpeechSample], console: Console) -> list[parity.Clip]:
    rate = model.features.sample_rate
    if not samples:
        audio = read_audio(str(SMOKE_CLIP), sample_rate=rate)
        return [parity.Clip("the clip of the package", audio, SMOKE_SENTENCE)]
    clips: list[parity.Clip] = []
    audio_s = 0.0
    for sample in samples:
        try:
            clip = parity.Clip(sample.id, read_audio(sample.path, sample_rate=rate), sample.transcript)
        except AudioError as error:  # the check before has read only the header
            console.warn(f"{sample.id} ({sample.path}) is left out of the comparison: {error}")
            continue
        audio_s += len(clip.audio) / rate
        if clips and audio_s > parity.MAX_AUDIO_S:
            break
        clips.append(clip)
    if not clips:
        raise UserError("None of the clips of --test_files can be read, so there is nothing to compare the model on")
    return clips
