"""What a client may know of a model that is served; None where nothing says it."""

import hashlib
from pathlib import Path
from typing import Any

from deepspeech_training.checkpoints.answers import answers_of_commands, answers_of_model
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.exporting.card import read_card, read_parity
from deepspeech_training.registry.store import Version
from deepspeech_training.reporting.diagnosis import VERDICTS, diagnose
from deepspeech_training.reporting.evidence import Answers, Evidence
from deepspeech_training.runtime.commands import SpokenCommandModel
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.pronunciation_file import PronunciationFile
from deepspeech_training.serving.sources import ModelSource

NOT_MEASURED = {"wer": None, "cer": None, "measured_on": None, "weights": None}


def facts_of_model(source: ModelSource, model: Model, scorer: Scorer | None) -> dict[str, Any]:
    """Of a model of speech to text."""
    file = model.file
    answers, _ = answers_of_model(model, None)
    return {
        **_facts(source, file, answers),
        "task": "speech_to_text",
        "alphabet": None if file.bytes_mode else list(file.labels),
        "bytes_output_mode": file.bytes_mode,
        "scorer": scorer.path.rsplit("/", 1)[-1] if scorer else None,
        "alpha": scorer.alpha if scorer else None,
        "beta": scorer.beta if scorer else None,
        **(_compared(source.folder) if source.folder else NOT_MEASURED),
        **(_tested(source.registered) if source.registered else {}),
    }


def facts_of_commands(source: ModelSource, model: SpokenCommandModel) -> dict[str, Any]:
    """Of a model of spoken commands."""
    answers, _ = answers_of_commands(model, None)
    return {
        **_facts(source, model.file, answers),
        "task": "spoken_command",
        "labels": list(model.labels),
        "commands": list(model.commands),
        "clip_seconds": model.clip_seconds,
        "threshold": model.rule.threshold,
        "hold_off_s": model.rule.hold_off_s,
        **_accuracy(source.folder),
        **(_answered(source.registered) if source.registered else {}),
    }


def facts_of_words(source: ModelSource, file: PronunciationFile) -> dict[str, Any]:
    """Of a model of words."""
    facts = _facts_of_source(source)
    return {
        **facts,
        "language": facts["language"] or file.language,
        "bytes": file.num_bytes,
        "sha256": file.sha256,
        "task": file.task,
        "network": file.network.describe(),
        "weights": file.kind,
        "given": list(file.source.symbols),
        "written": list(file.target.symbols),
        **_wer_of_words(source.folder),
    }


def _facts_of_source(source: ModelSource) -> dict[str, Any]:
    """What is known of any model without opening it."""
    card = read_card(source.folder) if source.folder else {}
    return {
        "language": card.get("language", ""),
        "note": source.note,
        "version": str(source.registered.number) if source.registered else card.get("model_version"),
        "author": card.get("author"),
        "license": card.get("license"),
        "created": int(source.path.stat().st_mtime),
        "file": source.path.name,
    }


def _facts(source: ModelSource, file: ModelFile, answers: Answers) -> dict[str, Any]:
    """What all have that hear."""
    return {
        **_facts_of_source(source),
        "sample_rate": file.geometry.sample_rate,
        "bytes": len(file.data),
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "network": {name: list(shape) for name, shape in file.state_shapes.items()},
        "verdict": _verdict(answers),
    }


def _verdict(answers: Answers) -> str:
    """What the diagnosis of `deepspeech inspect` says of the file alone."""
    diagnosis = diagnose(Evidence(not_finite=0, answers=answers))
    reasons = "; ".join(finding.what for finding in diagnosis.findings)
    return f"{VERDICTS[diagnosis.verdict]} ({reasons})" if reasons else VERDICTS[diagnosis.verdict]


def _compared(folder: Path) -> dict[str, Any]:
    """The error rates of the parity report, where it was made on test clips."""
    facts: dict[str, Any] = dict(NOT_MEASURED)
    try:
        found = read_parity(folder)
        for kind, model in found.get("models", {}).items():
            if model["exported"]:
                facts["weights"] = kind
                if found["bounds"]["int8_wer_increase"] is not None:  # on test sets, not on the clip of the package
                    clips = len(found["clips"])
                    facts |= {"wer": model["wer"], "cer": model["cer"], "measured_on": f"{clips} clips of the test set"}
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # a report that somebody has edited: nothing is known
    return facts


def _accuracy(folder: Path | None) -> dict[str, Any]:
    """The share of right answers that the parity report has, where it was made on test clips."""
    facts: dict[str, Any] = {"accuracy": None, "measured_on": None, "weights": None}
    try:
        found = read_parity(folder) if folder else {}
        for kind, model in found.get("models", {}).items():
            if model["exported"]:
                facts["weights"] = kind
                if model["accuracy"] is not None:
                    on = f"{len(found['clips'])} clips of the test set"
                    facts |= {"accuracy": float(model["accuracy"]), "measured_on": on}
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return facts


def _wer_of_words(folder: Path | None) -> dict[str, Any]:
    """The share of wrong words that the parity report has, where it was made on a test set."""
    facts: dict[str, Any] = {"wer": None, "measured_on": None}
    try:
        found = read_parity(folder) if folder else {}
        for model in found.get("models", {}).values():
            if model["exported"] and model["wer"] is not None:
                facts = {"wer": float(model["wer"]), "measured_on": f"{len(found['words'])} words of the test set"}
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return facts


def _answered(version: Version) -> dict[str, Any]:
    """The same of commands."""
    tested = _tested(version)
    return {"accuracy": 1 - tested["wer"], "measured_on": tested["measured_on"]} if tested else {}


def _tested(version: Version) -> dict[str, Any]:
    """The error rates of the first test set that a registered model was tested on, decoded as it is served."""
    try:
        test = version.card()["tests"][0]
        rates = {"wer": float(test["wer"]["value"]), "cer": float(test["cer"]["value"])}
        return {**rates, "measured_on": f"{int(test['clips'])} clips of the test set"}
    except (KeyError, IndexError, TypeError, ValueError):
        return {}
