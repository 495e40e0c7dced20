"""The folder that is published, written: each file whole or not at all, and last the README, which names the others."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.errors import FlagError, UserError

README = "README.md"
BLOCK_BYTES = 1 << 20


def check_folder(folder: Path, names: list[str], *, replace: bool) -> None:
    """Refuse, before any work, to write over what is there.

    Args:
        names: of the files that are to be written, with `/` below folders.
    Raises:
        FlagError: it is no folder, or it has some of them and `replace` is not given.
    """
    if folder.exists() and not folder.is_dir():
        raise FlagError(f"{folder}: this is a file, not a folder")
    there = [name for name in names if (folder / name).exists()]
    if there and not replace:
        raise FlagError(
            f"{folder}: it has {', '.join(there[:3])} already\nName another folder, or replace these files: --replace."
        )


def write_folder(folder: Path, contents: Mapping[str, Path | bytes]) -> None:
    """Write files into a folder, which is made where there is none; others in it stay.

    Args:
        contents: what is copied or written, by name, with `/` below folders.
    Raises:
        UserError: it cannot be written, or a file not be read.
    """
    for name in sorted(contents, key=lambda name: (name == README, name)):
        content, path = contents[name], folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, [content] if isinstance(content, bytes) else _blocks(content))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block
