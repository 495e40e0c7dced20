"""Where a corpus comes from: a folder, or an archive that is read as a stream and never unpacked to the disk.

Of an archive only the texts are kept (in the working folder); the recordings go one by one to the decoder. Names in it
are not trusted: absolute ones, ones with "..", links, devices, sparse files and absurd sizes are refused.
"""

import bz2
import fnmatch
import gzip
import hashlib
import io
import itertools
import lzma
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from deepspeech_training.console import Console
from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError
from deepspeech_training.text_files import TextFile

ARCHIVE_ENDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
MAX_ENTRY_BYTES = 4 << 30  # of one recording or one text: the largest real ones have some 100 MB
MAX_TEXT_BYTES = 16 << 30  # of all texts together
MAX_HEADER_BYTES = 1 << 20  # of a long name or a list of attributes in a tar
MAX_ENTRIES = 50_000_000
MAX_NAME_BYTES = 4096
MAX_RATIO = 2000  # zip: more than deflate can reach on anything but a bomb (its limit is 1032)
USUAL_ENDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")  # of recordings that somebody has converted
_CHUNK = 1 << 20
_TAR_BUFFER = 1 << 16  # tarfile moves the rest of it for every header
_PLAIN_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording on its way to the decoder; `temporary` ones are deleted after it."""

    name: str
    path: Path
    temporary: bool


class NotSafe(ValueError):
    """A name that must not be used as a path."""


def safe_name(name: str) -> str:
    """A name inside a corpus in its plain form.

    Raises:
        NotSafe: it is absolute, has a part "..", a NUL or a backslash, is empty or too long.

    >>> safe_name("./clips//a.mp3")
    'clips/a.mp3'
    """
    if _PLAIN_NAME.fullmatch(name) and len(name) <= 255:  # nearly all are, and there are millions of them
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise NotSafe("the name is absolute")
    if ".." in parts:
        raise NotSafe("the name leads out of the corpus")
    if "\0" in name or "\\" in name:
        raise NotSafe("the name has a NUL or a backslash")
    if not parts:
        raise NotSafe("the name is empty")
    try:
        encoded = [part.encode() for part in parts]
    except UnicodeEncodeError:
        raise NotSafe("the name is not UTF-8") from None
    if sum(map(len, encoded)) > MAX_NAME_BYTES or max(map(len, encoded)) > 255:
        raise NotSafe("the name is too long")
    return "/".join(parts)


def check_paths(paths: Sequence[str | Path]) -> None:
    """Raises:
    UserError: a path is not there, or neither a folder nor an archive.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: there is no such folder or archive")
        if not path.is_dir() and not (path.is_file() and path.name.lower().endswith(ARCHIVE_ENDS)):
            raise UserError(f"{path}: neither a folder nor an archive ({' '.join(ARCHIVE_ENDS)})")


def open_source(
    paths: Sequence[str | Path], *, work_dir: Path, ledger, is_text: Callable[[str], bool], console: Console
):
    """A FolderSource or an ArchiveSource, or several of them as one.

    Args:
        work_dir: where the texts of an archive and recordings on their way go.
        ledger: remembers the entries of an archive (`Ledger`).
        is_text: tells the names of texts from those of recordings.
    Raises:
        UserError: as for `check_paths`, or an archive is damaged or not to be trusted.
    """
    check_paths(paths)
    ledger.keep_entries_of({str(path) for path in map(Path, paths)})
    sources = [
        FolderSource(path) if path.is_dir() else ArchiveSource(path, work_dir, ledger, is_text, console)
        for path in map(Path, paths)
    ]
    return sources[0] if len(sources) == 1 else SeveralSources(sources)


class SeveralSources:
    """Folders and archives as one corpus, such as the archives of LibriSpeech; of equal names the first counts."""

    def __init__(self, sources: Sequence):
        self._sources = sources
        self.label = ", ".join(source.label for source in sources)

    @property
    def faults(self) -> list[str]:
        return [fault for source in self._sources for fault in source.faults]

    def glob(self, pattern: str) -> Iterator[str]:
        for place, source in enumerate(self._sources):
            earlier = self._sources[:place]
            yield from (name for name in source.glob(pattern) if not any(other.has(name) for other in earlier))

    def has(self, name: str) -> bool:
        return any(source.has(name) for source in self._sources)

    def _owner(self, name: str):
        return next((source for source in self._sources if source.has(name)), self._sources[0])

    def inside(self, path: str) -> str:
        return next((name for source in self._sources if (name := source.inside(path)) != path), path)

    def open(self, name: str) -> BinaryIO:
        return self._owner(name).open(name)

    def describe(self, name: str) -> str:
        return self._owner(name).describe(name)

    def fingerprint(self, name: str) -> str:
        return self._owner(name).fingerprint(name)

    def recordings(self, ledger) -> Iterator[Recording]:
        for source in self._sources:
            yield from source.recordings(ledger)


class FolderSource:
    """A corpus in a folder. Names are relative to it, with slashes."""

    def __init__(self, root: Path):
        self.root = root
        self.label = str(root)
        self.faults: list[str] = []  # folders that cannot be read
        self._absolute_roots = [f"{path.rstrip('/')}/" for path in (os.path.abspath(root), os.path.realpath(root))]

    def glob(self, pattern: str) -> Iterator[str]:
        """Names that match, in any case, sorted folder by folder; `*` stays within a folder, `**/` goes through all."""
        depth = None if "**" in pattern else pattern.count("/")
        yield from names_below(self.root, _matcher(pattern), depth=depth, faults=self.faults)

    def has(self, name: str) -> bool:
        return os.path.isfile(f"{self.root}/{name}")

    def inside(self, path: str) -> str:
        """The name of a recording that is given by its absolute path; the path itself if it is elsewhere."""
        for place in (path, os.path.realpath(path)):
            for root in self._absolute_roots:
                if place.startswith(root):
                    return place[len(root) :]
        return path

    def open(self, name: str) -> BinaryIO:
        return open(self.root / name, "rb")

    def describe(self, name: str) -> str:
        return str(self.root / name)

    def fingerprint(self, name: str) -> str:
        """Size and time of a recording: another one is converted again. Empty if it is not there."""
        try:
            status = os.stat(f"{self.root}/{name}")
        except (OSError, ValueError):
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"

    def recordings(self, ledger) -> Iterator[Recording]:
        """The recordings that the ledger says are needed."""
        for name in ledger.needed():
            if self.has(name) and ledger.meet(name):
                yield Recording(name, self.root / name, temporary=False)


class _SafeTarInfo(tarfile.TarInfo):
    """Refuses headers of headers that would have to be read into memory as a whole."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        info = super().frombuf(buf, encoding, errors)
        if info.type in (b"x", b"g", b"X", b"L", b"K") and info.size > MAX_HEADER_BYTES:
            raise UserError("it has a header of absurd size: not an archive to trust")
        return info


class ArchiveSource:
    """A corpus in a tar (plain, gz, bz2, xz) or zip.

    The first look lists the entries and keeps the texts; it is remembered, so that a second run does without it.
    """

    def __init__(self, path: Path, work_dir: Path, ledger, is_text: Callable[[str], bool], console: Console):
        self.path, self.label = path, str(path)
        self.faults: list[str] = []  # what is refused is among the entries
        self._ledger, self._is_text, self._console = ledger, is_text, console
        digest = hashlib.blake2b(self.label.encode(), digest_size=8).hexdigest()
        self._texts = work_dir / "texts" / digest
        self._spool = work_dir / "spool"
        self._is_zip = path.name.lower().endswith(".zip")
        status = path.stat()
        self._bytes = status.st_size
        key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
        if ledger.recall(f"archive {self.label}") != key:
            ledger.forget_entries(self.label)
            shutil.rmtree(self._texts, ignore_errors=True)
            self._list()
            ledger.remember(f"archive {self.label}", key)
            ledger.commit()

    def _list(self) -> None:
        """One pass over the archive: its entries into the ledger, its texts into the working folder."""
        count = text_bytes = 0
        for name, size, fault, read in self._entries("listing the archive"):
            count += 1
            if count > MAX_ENTRIES:
                raise UserError(f"{self.path}: more than {MAX_ENTRIES:,} entries: not an archive to trust")
            is_first = self._ledger.add_entry(self.label, name, size, fault)
            if fault or not is_first or not self._is_text(name):
                continue
            text_bytes += size
            if text_bytes > MAX_TEXT_BYTES:
                raise UserError(f"{self.path}: its texts have more than {MAX_TEXT_BYTES >> 30} GiB")
            target = self._text_path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(read(), target, size)

    def _entries(self, what: str) -> Iterator[tuple[str, int, str, Callable[[], BinaryIO]]]:
        """(name, size, why it is refused or "", a function that opens it) of every file; folders are left out."""
        with self._console.progress(what, total=self._bytes >> 20, unit="MB") as progress:
            try:
                yield from self._zip_entries(progress) if self._is_zip else self._tar_entries(progress)
            except _DAMAGE as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise UserError(
                    f"{self.path}: the archive is damaged or cut short: {error}\n"
                    "Compare its size or checksum with the publisher's, and download it again; what is done stays."
                ) from error
            except UserError as error:
                raise UserError(f"{self.path}: {str(error).removeprefix(f'{self.path}: ')}") from error

    def _tar_entries(self, progress):
        with (
            open(self.path, "rb") as file,
            _unpacked(file, progress) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|", bufsize=_TAR_BUFFER, tarinfo=_SafeTarInfo) as tar,
        ):
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # or it keeps every header
                if info.isdir():
                    continue
                name, fault = _judge_name(info.name)
                if not info.isfile() or info.issparse():
                    fault = fault or "it is a link, a device or a sparse file"
                elif info.size > MAX_ENTRY_BYTES:
                    # To pass over it costs as much as to read it.
                    raise UserError(f"{self.path}: {name} has {info.size:,} bytes: not an archive to trust")
                yield name, info.size, fault, lambda info=info: tar.extractfile(info)

    def _zip_entries(self, progress):
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                progress.update(0)
                if info.is_dir():
                    continue
                name, fault = _judge_name(info.filename)
                mode = info.external_attr >> 16
                if mode & 0o170000 not in (0, 0o100000):
                    fault = fault or "it is a link, a device or a sparse file"
                elif info.file_size > MAX_ENTRY_BYTES:
                    fault = fault or f"its size is absurd: {info.file_size:,} bytes"
                elif info.file_size > MAX_RATIO * max(info.compress_size, 1) + (1 << 20):
                    fault = fault or f"{info.compress_size:,} bytes would become {info.file_size:,}"
                elif info.flag_bits & 1:
                    fault = fault or "it is encrypted"
                yield name, info.file_size, fault, lambda info=info: archive.open(info)

    def _text_path(self, name: str) -> Path:
        suffix = PurePosixPath(name).suffix
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return self._texts / digest[:2] / f"{digest}{suffix if re.fullmatch(r'[.][A-Za-z0-9]{1,8}', suffix) else ''}"

    def glob(self, pattern: str) -> Iterator[str]:
        matches = _matcher(pattern)
        yield from (name for name in self._ledger.entry_names(self.label) if matches(name))

    def has(self, name: str) -> bool:
        return self._ledger.entry_size(self.label, name) is not None

    def inside(self, path: str) -> str:
        return path  # an archive has no place

    def open(self, name: str) -> BinaryIO:
        return open(self._text_path(name), "rb")

    def describe(self, name: str) -> str:
        return f"{self.path}: {name}"

    def fingerprint(self, name: str) -> str:
        size = self._ledger.entry_size(self.label, name)
        return "" if size is None else f"{size} of {self._bytes}"

    def recordings(self, ledger) -> Iterator[Recording]:
        """The recordings that the ledger says are needed, in the order of the archive, each as a temporary file."""
        left = ledger.count_needed(self.label)
        if not left:
            return
        self._spool.mkdir(parents=True, exist_ok=True)
        for old in self._spool.iterdir():
            old.unlink()
        counter = itertools.count()
        for name, size, fault, read in self._entries("reading the archive"):
            if fault or not ledger.meet(name):
                continue
            suffix = PurePosixPath(name).suffix
            path = self._spool / f"{next(counter)}{suffix if re.fullmatch(r'[.][A-Za-z0-9-]{1,8}', suffix) else ''}"
            _copy(read(), path, size)
            yield Recording(name, path, temporary=True)
            left -= 1
            if not left:
                return


_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


def _unpacked(file: io.BufferedReader, progress) -> Any:
    """The tar inside a .tar.gz, .tar.bz2 or .tar.xz, told by its first bytes, or the file itself.

    Not through tarfile's own decompression: that unpacks as much as it reads at a time, be it a thousandfold, and moves
    all of it for every header.
    """
    start, counted = file.peek(6), _Counted(file, progress)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=counted, mode="rb")
    if start.startswith(b"BZh"):
        return bz2.BZ2File(counted)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(cast(BinaryIO, counted))
    return counted


class _Counted(io.RawIOBase):
    """A file whose progress is shown in MB."""

    def __init__(self, file: BinaryIO, progress):
        self._file, self._progress, self._rest = file, progress, 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._rest += len(data)
        if self._rest >= _CHUNK:
            self._progress.update(self._rest >> 20)
            self._rest %= _CHUNK
        return data


def _judge_name(name: str) -> tuple[str, str]:
    try:
        return safe_name(name), ""
    except NotSafe as error:
        return printable(name[:MAX_NAME_BYTES]), str(error)


def printable(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a name that are not become escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _copy(source: BinaryIO, target: Path, size: int) -> None:
    """Copy at most `size` bytes: the size that was judged, whatever the data says."""
    with source, open(target, "wb") as file:
        left = size
        while left and (chunk := source.read(min(_CHUNK, left))):
            file.write(chunk)
            left -= len(chunk)


def _matcher(pattern: str) -> Callable[[str], bool]:
    """fnmatch for paths: `*` and `?` stay within a folder, `**/` stands for any folders or none."""
    pieces = [
        "".join({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)) for character in piece)
        for piece in pattern.split("**/")
    ]
    compiled = re.compile("(?:.*/)?".join(pieces), re.IGNORECASE)
    return lambda name: compiled.fullmatch(name) is not None


def ends_with(*patterns: str) -> Callable[[str], bool]:
    """A function that tells whether the last part of a name matches one of these patterns, in any case.

    >>> ends_with("*.tsv", "prompts")("en/Validated.TSV")
    True
    """
    return lambda name: any(fnmatch.fnmatchcase(name.rsplit("/", 1)[-1].lower(), pattern) for pattern in patterns)


def text_of(source, name: str) -> TextFile:
    """A text of the corpus."""
    return TextFile(source.describe(name), lambda: source.open(name))


def read_lines(source, name: str) -> Iterator[tuple[int, str | None]]:
    """(number of the line, its text without the end) of a text of the corpus; None for one that cannot be decoded.

    Raises:
        UserError: it cannot be read, or has a line that never ends.
    """
    return text_of(source, name).lines()


def recording_of(source, *names: str) -> str:
    """The first of these recordings that is there, in another format if need be; else the first name."""
    ends = itertools.chain(*((end, end.upper()) for end in USUAL_ENDS))
    others = (os.path.splitext(name)[0] + end for end in ends for name in names)
    return next((name for name in itertools.chain(names, others) if source.has(name)), names[0])
