"""The folder of a Hugging Face Space, which runs as it is.

    README.md              the fields of a Space, figures and licence
    app.py                 the page (`space_app.py`)
    requirements.txt       what it needs, at the versions that are installed here
    model.tflite           and the scorer, under the names that they have
    deepspeech_training/   the modules that the page uses

The package is there as source, and not as a wheel: the hub gives pip nothing but requirements.txt, so that a wheel
beside it would not be found, and this version of the package need not be published anywhere.
"""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import deepspeech_training
from deepspeech_training.errors import UserError
from deepspeech_training.publishing import space_app
from deepspeech_training.publishing.folder import README
from deepspeech_training.publishing.metadata import TAGS, front_matter, license_fields
from deepspeech_training.publishing.model import GIT_FILE, git_attributes
from deepspeech_training.publishing.readme import figures, licence
from deepspeech_training.publishing.source import Source

GRADIO = "6.31.0"  # the page was tested with it
PACKAGE = "deepspeech_training"
ROOT = Path(deepspeech_training.__file__).parent
# Beside what the page imports: the process that decodes uploads.
STARTED = (f"{PACKAGE}.audio.decoding_process",)


def space_contents(source: Source, *, title: str, license: str, repo_id: str | None) -> dict[str, Path | bytes]:
    """The files of the folder, by name.

    Args:
        license: see `license_fields`; "" for none.
        repo_id: of the Space on the hub, OWNER/NAME; None where that is not known.
    Raises:
        UserError: a package that the page needs is not installed here.
    """
    app = Path(space_app.__file__)
    modules, packages = used_by(app)
    return {
        README: space_readme(source, title=title, license=license, repo_id=repo_id).encode(),
        GIT_FILE: git_attributes(),
        "app.py": app,
        "requirements.txt": requirements(packages).encode(),
        **source.contents,
        **{f"{PACKAGE}/{path.relative_to(ROOT).as_posix()}": path for path in modules},
    }


def space_readme(source: Source, *, title: str, license: str, repo_id: str | None) -> str:
    fields: dict[str, Any] = {
        "title": title,
        "emoji": "🎙️",
        "colorFrom": "green",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "short_description": "Speech to text by a small streaming model",
        "tags": TAGS,
        **(license_fields(license) if license else {}),
    }
    where = f"<https://huggingface.co/spaces/{repo_id}>" if repo_id else "a Space of the Hugging Face hub"
    lines = [
        f"# {title}",
        "",
        *([source.description, ""] if source.description else []),
        *figures(source),
        "## Elsewhere",
        "",
        f"This is {where}. The same folder runs on any machine:",
        "",
        "```sh",
        "pip install -r requirements.txt",
        "python app.py",
        "```",
        "",
        *licence(license),
        "",
        f"The programs in `{PACKAGE}/` and `app.py` are licensed under the [MPL-2.0](https://mozilla.org/MPL/2.0/).",
    ]
    return front_matter(fields) + "\n".join(["", *lines, ""])


def used_by(file: Path) -> tuple[list[Path], set[str]]:
    """The files of this package that a program imports, also within functions, and the names of what is not of here.

    Args:
        file: the program.
    """
    wanted, files, others = [*_imported(file), *STARTED], {ROOT / "__init__.py"}, set[str]()
    while wanted:
        name = wanted.pop()
        if name.split(".")[0] != PACKAGE:
            others.add(name.split(".")[0])
            continue
        for path in _files_of(name):
            if path not in files:
                files.add(path)
                wanted += _imported(path)
    return sorted(files), others - set(sys.stdlib_module_names)


def _imported(path: Path) -> Iterator[str]:
    """What a file imports: the names of modules, and of what is taken from them, which may be modules too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files_of(name: str) -> Iterator[Path]:
    """The files that are run where `name` is imported: of the module, and of the packages that it lies in."""
    place = ROOT
    for part in name.split(".")[1:]:
        if (place / f"{part}.py").is_file():
            yield place / f"{part}.py"
            return
        place /= part
        if not (place / "__init__.py").is_file():
            return  # a class or function of a module
        yield place / "__init__.py"


def requirements(packages: set[str]) -> str:
    """requirements.txt: what the page imports, at the versions that are installed here.

    Raises:
        UserError: one is not installed, so that nobody knows its version.
    """
    of_module, pins = packages_distributions(), {f"gradio=={GRADIO}"}
    for package in packages - {"gradio"}:
        found = of_module.get(package)
        if not found:
            raise UserError(
                f"the page of a Space uses {package}, which is not installed here, so its version is not known\n"
                "Install this package with [media]: pip install 'deepspeech_training[media]'"
            )
        name = re.sub(r"[-_.]+", "-", found[0]).lower()
        pins.add(f"{name}=={version(found[0])}")
    return "".join(f"{pin}\n" for pin in sorted(pins))
