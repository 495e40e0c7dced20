"""A folder that `deepspeech data pack` wrote: its CSVs, by set, and whether its shards are sound."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.sdb import is_sdb
from deepspeech_training.audio.shards import Shard, Stretch, open_shard, stretch_of
from deepspeech_training.errors import UserError

THREADS = 4  # that read shards from end to end


def csvs_of_sets(named: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Files by the name of their set ("train", "dev" ...), where folders stand for the CSVs of that set in them.

    Raises:
        UserError: a folder has none.
    """
    return {
        set_name: tuple(
            csv for path in paths for csv in (_csvs_of_set(path, set_name) if os.path.isdir(path) else [path])
        )
        for set_name, paths in named.items()
    }


def csvs_in(path: str) -> list[str]:
    """All CSVs of a folder, without any its sample databases, or what is no folder as it is.

    Raises:
        UserError: the folder has neither, or cannot be read.
    """
    if not os.path.isdir(path):
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if name[0] != ".")
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be read: {error.strerror}") from error
    found = [name for name in names if name.lower().endswith(".csv")] or [name for name in names if is_sdb(name)]
    if not found:
        raise UserError(f"{path}: there is no CSV in this folder\nName a CSV, or pack one: deepspeech data pack")
    return [os.path.join(path, name) for name in found]


def _csvs_of_set(folder: str, set_name: str) -> list[str]:
    found = csvs_in(folder)
    of_set = [path for path in found if os.path.basename(path).lower().startswith(set_name)]
    if not of_set and len(found) == 1:
        return found
    if not of_set:
        names = ", ".join(os.path.basename(path) for path in found)
        raise UserError(
            f"--{set_name}_files {folder}: no CSV in this folder has a name that begins with {set_name}\n"
            f"  found  {names}\nName the CSV itself."
        )
    return of_set


def shards_of(paths: Iterable[str]) -> list[str]:
    """The shards that clips lie in, each once, in their order."""
    return list(dict.fromkeys(where.shard for where in map(stretch_of, paths) if where))


def verify(shard_path: str, on_clip: Callable[[int], object] = lambda size: None) -> Iterator[str]:
    """Read a shard from end to end and compare the checksums of its clips; yields what is wrong.

    Args:
        on_clip: called with the bytes of each clip.
    """
    try:
        shard: Shard = open_shard(shard_path)
    except AudioError as error:
        yield str(error)
        return
    if shard.index is None:
        yield f"{shard_path} has no index beside it: there are no checksums to compare"
        return
    for record in shard.index:
        where = Stretch(shard_path, record.offset, record.size, "")
        try:
            sound = zlib.crc32(shard.part(where, 0, where.size)) == record.crc32
            reason = "its checksum is wrong"
        except AudioError as error:
            sound, reason = False, str(error)
        if not sound:
            yield f"{shard_path}: the clip of row {record.row} at {where.offset:,} is damaged: {reason}"
        on_clip(where.size)


def verify_all(shard_paths: Sequence[str], on_clip: Callable[[int], object]) -> Iterator[str]:
    """As `verify`, of several shards at the same time; faults in the order of the shards."""
    with ThreadPoolExecutor(THREADS) as pool:
        for faults in pool.map(lambda path: list(verify(path, on_clip)), shard_paths):
            yield from faults


def total_bytes(shard_paths: Sequence[str]) -> int:
    """Bytes of shards, as far as they are there."""
    return sum(Path(path).stat().st_size for path in shard_paths if os.path.isfile(path))
