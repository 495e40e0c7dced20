"""The folder of a model for the hub: model and scorer, README.md, the figures of the export, and what git must know.

README.md         the card, with its fields in YAML
model.tflite      and the scorer, under the names that they have
parity.json       how far the model is from its checkpoint, without the names of clips and files
.gitattributes    large files go to the store of the hub also where somebody pushes the folder with git
"""

import json
from pathlib import Path

from deepspeech_training.publishing.folder import README
from deepspeech_training.publishing.readme import model_readme
from deepspeech_training.publishing.source import Source

PARITY_FILE, GIT_FILE = "parity.json", ".gitattributes"


def model_contents(
    source: Source, *, title: str, language: str, license: str, repo_id: str | None
) -> dict[str, Path | bytes]:
    """The files of the folder, by name; see `model_readme`."""
    text = model_readme(source, title=title, language=language, license=license, repo_id=repo_id)
    contents: dict[str, Path | bytes] = {README: text.encode(), GIT_FILE: git_attributes(), **source.contents}
    if source.card["parity"]:
        report = {"program_version": source.card["program_version"], "models": source.card["parity"]}
        contents[PARITY_FILE] = (json.dumps(report, indent=1) + "\n").encode()
    return contents


def git_attributes() -> bytes:
    return b"".join(f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n".encode() for kind in ("tflite", "scorer"))
