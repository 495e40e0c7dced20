"""What changes a registry: one writer at a time, and every change is one rename.

A version is built in a folder beside, fsynced and renamed into its place. Whoever is killed meanwhile leaves a
`.part`, which nobody reads and the next writer removes.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import fsync_folder, write_atomically
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.registry.store import (
    CARD_FILE,
    NAME,
    NUMBER,
    STATE_FILE,
    Event,
    Registry,
    State,
    Version,
    checked_name,
)

LOCK_FILE = ".lock"
CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def writing(registry: Registry, console: Console) -> Iterator["Writer"]:
    """Be the only writer of a registry, for a block.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        registry.folder.mkdir(parents=True, exist_ok=True)
        with open(registry.folder / LOCK_FILE, "a+") as lock:
            _take(lock.fileno(), registry, console)
            writer = Writer(registry)
            writer.tidy()
            yield writer
    except OSError as error:
        where = error.filename or registry.folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{where}: no space left on the disk; the registry is as it was") from error
        raise UserError(f"{where}: the registry cannot be written: {error.strerror}") from error


def _take(lock: int, registry: Registry, console: Console) -> None:
    # An flock, not a file with a process id: in a container every process has the same id, and a kill leaves none.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.info(f"{registry.folder}: another process is writing there; this one waits for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:  # a network file system without locks
        console.warn(
            f"{registry.folder}: cannot be locked ({error.strerror}); see to it that nothing else writes there"
        )


class Writer:
    """Changes, made by whoever holds the lock."""

    def __init__(self, registry: Registry):
        self._registry = registry

    def tidy(self) -> None:
        """Remove what killed writers have left."""
        folder = self._registry.folder
        for path in [*folder.glob(".*.part"), *folder.glob("*/.*.part")]:
            _delete(path)
        for path in folder.glob("*/*"):
            name = path.parent.name
            is_version = NAME.fullmatch(name) and NUMBER.fullmatch(path.name)
            if is_version and self._registry.state(name).is_removed(int(path.name)):
                _delete(path)

    def publish(self, name: str, contents: Mapping[str, Path | bytes], card: Mapping[str, Any]) -> Version:
        """Put files into the registry as the next version of a model; nothing is promoted by that.

        Args:
            contents: by the name that a file gets; a path is copied.
            card: what card.json says besides name, version, time and checksums.
        Raises:
            UserError: a file cannot be read, or there is no space.
        """
        folder = self._registry.model_folder(name)
        folder.mkdir(exist_ok=True)
        state = self._registry.state(name)
        used = [*self._registry.numbers(name), *(event.version for event in state.history)]
        version = self._registry.version(name, max(used, default=0) + 1)
        beside = folder / f".{version.number}.part"
        try:
            beside.mkdir()
            files = {}
            for file_name, content in contents.items():
                chunks = [content] if isinstance(content, bytes) else _chunks(content)
                digest = write_atomically(beside / file_name, chunks)
                files[file_name] = {"bytes": (beside / file_name).stat().st_size, "sha256": digest}
            whole = {"format": 1, "name": name, "version": version.number, "registered_at": time.time(), **card}
            write_atomically(beside / CARD_FILE, [as_bytes({**whole, "files": files})])
            os.rename(beside, version.folder)
            fsync_folder(folder)
        except BaseException:
            _delete(beside)
            raise
        if not (folder / STATE_FILE).exists():
            self._write(name, state)
        return version

    def promote(self, version: Version, why: str) -> None:
        """Have a version served from now on.

        Raises:
            DamagedModel: it is not what was registered.
        """
        version.check()
        state = self._registry.state(version.name)
        before = state.before if state.promoted is None else (*state.before, state.promoted)
        self._note(version, "promoted", why, replace(state, promoted=version.number, before=before))

    def keep(self, version: Version, why: str) -> None:
        """Note why a version was registered and not promoted."""
        self._note(version, "registered", why, self._registry.state(version.name))

    def rollback(self, name: str, why: str) -> Version:
        """Promote the version again that was promoted before.

        Raises:
            UserError: there is none, or it is damaged.
        """
        state, there = self._registry.state(name), self._registry.numbers(name)
        before = [number for number in state.before if number in there and number != state.promoted]
        if not before:
            raise UserError(
                f"{name}: no other version was promoted before\nPromote one: deepspeech models promote {name}/VERSION."
            )
        version = self._registry.version(name, before[-1])
        version.check()
        earlier = state.before[: len(state.before) - 1 - state.before[::-1].index(version.number)]
        self._note(version, "rolled back", why, replace(state, promoted=version.number, before=earlier))
        return version

    def remove(self, version: Version) -> None:
        """Delete a version; its number is not given again.

        Raises:
            UserError: it is the promoted one.
        """
        state = self._registry.state(version.name)
        if state.promoted == version.number:
            raise UserError(
                f"{version}: this version is promoted and may be at work\nPromote another one first: deepspeech models "
                f"promote {version.name}/VERSION; or remove the whole model: --all."
            )
        before = tuple(number for number in state.before if number != version.number)
        self._note(version, "removed", "", replace(state, before=before))  # from here on nobody sees it
        _delete(version.folder)

    def remove_all(self, name: str) -> None:
        """Delete a model with all its versions."""
        folder = self._registry.folder / f".{checked_name(name)}.part"
        os.rename(self._registry.model_folder(name), folder)
        _delete(folder)

    def _note(self, version: Version, what: str, why: str, state: State) -> None:
        event = Event(time.time(), version.number, what, why)
        self._write(version.name, replace(state, history=(*state.history, event)))

    def _write(self, name: str, state: State) -> None:
        write_atomically(self._registry.model_folder(name) / STATE_FILE, [as_bytes(state.as_json())])


def as_bytes(values: Any) -> bytes:
    """JSON that a person can read."""
    return (json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
