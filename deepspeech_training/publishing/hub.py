"""A folder -> the Hugging Face hub, by its own library: token, address and proxies are what that library reads
(HF_TOKEN, HF_ENDPOINT).
"""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal

from deepspeech_training.errors import FlagError, UserError

Kind = Literal["model", "space"]
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def check_upload(repo_id: str) -> None:
    """Find out, before any work, whether something can be uploaded.

    Raises:
        FlagError: this is no name of a repository.
        UserError: the library or the token is missing.
    """
    if not REPO_ID.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise FlagError(f"--upload {repo_id!r}: it must be OWNER/NAME, as in https://huggingface.co/OWNER/NAME")
    if _library().get_token() is None:
        raise UserError(
            "--upload: there is no token for the Hugging Face hub\n"
            "Make one that may write (https://huggingface.co/settings/tokens), and set HF_TOKEN or run `hf auth login`."
        )


def upload(folder: Path, names: Sequence[str], repo_id: str, kind: Kind, *, private: bool) -> str:
    """Make the repository where there is none, and upload files of a folder in one commit.

    Args:
        names: of the files.
        private: of a repository that is made now.
    Returns:
        The address of the repository.
    Raises:
        UserError: the hub refuses it, or cannot be reached; the folder stays as it is.
    """
    library = _library()
    library.utils.disable_progress_bars()
    api = library.HfApi()
    try:
        made = api.create_repo(
            repo_id,
            repo_type=kind,
            private=private or None,
            exist_ok=True,
            space_sdk="gradio" if kind == "space" else None,
        )
        api.upload_folder(
            repo_id=repo_id,
            repo_type=kind,
            folder_path=folder,
            allow_patterns=list(names),
            commit_message="Publish with deepspeech_training",
        )
    except (library.errors.HTTPError, OSError, ValueError) as error:  # ValueError: metadata that the hub refuses
        said = str(getattr(error, "server_message", None) or error).strip()
        raise UserError(
            f"--upload {repo_id}: the hub did not take it: {said}\n"
            f"The folder {folder} is complete; the same command with --replace uploads again."
        ) from error
    return str(made)


def _library() -> ModuleType:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise UserError(
            "--upload needs the package huggingface_hub, which is not installed\n"
            "pip install huggingface_hub (or this package with [publish]); or upload the folder by hand."
        ) from error
