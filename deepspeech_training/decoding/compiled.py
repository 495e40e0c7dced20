"""The compiled beam search: numba compiles `beam_kernels` once and keeps the result in a folder.

Nothing else imports `beam_kernels` or numba, so that only a process that decodes waits for them.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

VOLUME = Path("persistent-data")
PREPARED = "DEEPSPEECH_COMPILED_BEAM"  # a folder of the image: compiled for the processor that it was built on
COMPILED_BYTES = 64 * 2**20  # room that compiled code may take; what was measured is 27 MB
_loading = threading.Lock()
_loaded: list[ModuleType] = []


def load_kernels(say: Callable[[str], None] | None = None) -> ModuleType:
    """Import the search, compiled before or now; `say` gets a line where it has to be compiled."""
    with _loading:
        if not _loaded:
            _loaded.append(_import_kernels(say or (lambda message: print("I", message, file=sys.stderr, flush=True))))
        return _loaded[0]


def _import_kernels(say: Callable[[str], None]) -> ModuleType:
    import numba

    settings: Any = numba.config
    before = settings.CACHE_DIR
    folder = Path(before) if before else cache_folder() / _fingerprint()
    if not any(folder.rglob("*.nbi")) and not _copied(folder):
        say("Compiling the beam decoder, once (about half a minute)")
    settings.CACHE_DIR = str(folder)
    try:
        from deepspeech_training.decoding import beam_kernels
    finally:
        settings.CACHE_DIR = before
    return beam_kernels


def _copied(folder: Path) -> bool:
    """Whether the image has brought what is compiled for this processor: then it is copied, as numba writes there."""
    prepared = Path(os.environ.get(PREPARED, ""), folder.name)
    if not os.environ.get(PREPARED) or not prepared.is_dir():
        return False
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)
        shutil.copytree(prepared, part, dirs_exist_ok=True)
        os.rename(part, folder)
    except OSError:  # another process was first, or the disk is full
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return any(folder.rglob("*.nbi"))


def _fingerprint() -> str:
    """Compiled code is of a processor, of a numba and of a source: each has a folder of its own."""
    import llvmlite.binding
    import numba

    source = Path(__file__).with_name("beam_kernels.py").read_bytes()
    features = llvmlite.binding.get_host_cpu_features().flatten()
    digest = hashlib.sha256(source + features.encode()).hexdigest()[:12]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"numba-{numba.__version__}-python-{python}-{llvmlite.binding.get_host_cpu_name()}-{digest}"


def cache_folder() -> Path:
    """Where compiled code is kept: on the volume, else in the user's cache, else in a temporary folder of the user."""
    places = [VOLUME / "caches" / "numba"] if VOLUME.is_dir() else []
    with contextlib.suppress(RuntimeError):  # without $HOME and a name (`docker run --user 1234`) there is no ~
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "deepspeech-training")
    for place in places:
        if _usable_folder(place):
            return place
    shared = Path(tempfile.gettempdir()) / f"deepspeech-training-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    # Whoever can write there could have us run his code: the folder must be ours alone.
    return shared if _usable_folder(shared, private=True) else Path(tempfile.mkdtemp(prefix="deepspeech-training-"))


def _usable_folder(folder: Path, *, private: bool = False) -> bool:
    try:
        folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        if private and hasattr(os, "getuid"):
            found = os.lstat(folder)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
                return False
        with tempfile.TemporaryFile(dir=folder):
            return shutil.disk_usage(folder).free >= COMPILED_BYTES  # numba would end the program on a full disk
    except OSError:
        return False
