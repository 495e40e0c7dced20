"""The one-clip corpus of the smoke test: LDC93S1.wav and ldc93s1.csv, before the way of the data begins.

The clip is a sentence of TIMIT that the Linguistic Data Consortium gives away as a sample. Where it cannot be had, a
synthesised clip of the same sentence, shipped with the package, takes its place: under another file name, and said
aloud, because a network that learns it proves the program and not the recognition of real speech.
"""

import argparse
import csv
import hashlib
import http.client
import io
import os
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from deepspeech_training.audio.synthetic_speech import SMOKE_CLIP, SMOKE_SENTENCE
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError

TRANSCRIPT = SMOKE_SENTENCE
URL = "https://catalog.ldc.upenn.edu/desc/addenda/LDC93S1.wav"
SHA256 = "c7e8b51db10ec6a2aea8c92376f2b88af14c2b4950ed82db3d605a4b718c8f35"
MAX_BYTES = 1_000_000  # the clip has 93,638
SOURCES = ("auto", "real", "synthetic")
REAL_NAME, SYNTHETIC_NAME, CSV_NAME = "LDC93S1.wav", "LDC93S1-synthetic.wav", "ldc93s1.csv"


def import_ldc93s1(
    directory: str | Path,
    *,
    source: str = "auto",
    console: Console | None = None,
    url: str = URL,
    timeout_s: float = 20.0,
) -> Path:
    """Put the clip and its CSV into `directory`; a file that is there already and right stays as it is.

    Args:
        directory: made if need be.
        source: "real" takes the clip of the LDC or fails, "synthetic" takes the shipped one, "auto" takes the real one
            if it can be downloaded.
        console: says which clip it is; stderr by default.
        url: of the real clip.
        timeout_s: when to give up a download that stands still, or one that is not done by then.
    Returns:
        The path of the CSV, one row: wav_filename (relative to the CSV), wav_filesize, transcript.
    Raises:
        UserError: the real clip is demanded and cannot be had, or the directory cannot be written.
        ValueError: `source` is none of SOURCES.
    """
    if source not in SOURCES:
        raise ValueError(f"source is {source!r}; it must be one of {', '.join(SOURCES)}")
    console = console or Console()
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        clip = None
        if source != "synthetic":
            clip = _real_clip(directory, console, url, timeout_s)
        if clip is None and source == "real":
            raise UserError(
                f"the real clip {REAL_NAME} could not be had; the lines above say what was tried.\n"
                f"Download {URL} by other means and put it at {directory / REAL_NAME}, or take --source synthetic."
            )
        if clip is None:
            reason = "as asked" if source == "synthetic" else "NO NETWORK"
            console.warn(
                f"{reason}: a synthesised clip of the same sentence; "
                "this smoke test proves the program, not recognition of real speech"
            )
            clip = directory / SYNTHETIC_NAME
            _write_if_other(clip, SMOKE_CLIP.read_bytes())
        csv_path = directory / CSV_NAME
        _write_if_other(csv_path, _csv_bytes(clip))
    except OSError as error:
        raise UserError(
            f"cannot import the clip into {directory}: {error}\nName a directory that can be written."
        ) from error
    return csv_path


def download(url: str, *, timeout_s: float = 20.0, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of `url`.

    Raises:
        UserError: the server is not reached, answers with an error, is too slow or sends too much.
    """
    deadline = time.monotonic() + timeout_s
    content = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            while chunk := response.read1(65536):
                content += chunk
                if len(content) > max_bytes:
                    raise UserError(f"{url} sends more than {max_bytes:,} bytes; it is not the clip")
                if time.monotonic() > deadline:  # urllib's timeout is for each read, not for all
                    raise UserError(f"{url} did not send all within {timeout_s:g} s")
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise UserError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise UserError(f"{url} cannot be had: {reason}") from error
    return bytes(content)


def _real_clip(directory: Path, console: Console, url: str, timeout_s: float) -> Path | None:
    """The checked clip in `directory`, from there or from the network; None if there is none."""
    clip = directory / REAL_NAME
    if _has_clip(clip, console):
        console.info(f"the real clip LDC93S1 is at {clip} already")
        return clip
    try:
        content = download(url, timeout_s=timeout_s)
    except UserError as error:
        console.warn(str(error))
        return None
    if _digest(content) != SHA256:
        console.warn(f"{url} sent another file than LDC93S1.wav: {_fault(content)}")
        return None
    _write(clip, content)
    console.info(f"the real clip LDC93S1, downloaded from {url} to {clip}")
    return clip


def _has_clip(path: Path, console: Console) -> bool:
    if not path.is_file():
        return False
    content = path.read_bytes()
    if _digest(content) != SHA256:
        console.warn(f"{path} is not the clip LDC93S1 and is not taken: {_fault(content)}")
        return False
    return True


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fault(content: bytes) -> str:
    return f"{len(content):,} bytes with SHA-256 {_digest(content)[:12]}..., not {SHA256[:12]}..."


def _csv_bytes(clip: Path) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["wav_filename", "wav_filesize", "transcript"])
    rows.writerow([clip.name, clip.stat().st_size, TRANSCRIPT])
    return text.getvalue().encode()


def _write_if_other(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    """Write beside, then rename: nobody sees half a file, and two imports at a time do no harm."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)  # mkstemp's 0600 would hide the corpus from other users of the volume
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Get the clip LDC93S1, write DIR/ldc93s1.csv and print its path.",
        epilog=f"Example: {prog} /tmp/ldc93s1",
        allow_abbrev=False,
    )
    parser.add_argument("directory", metavar="DIR", help="where the clip and its CSV go; made if need be")
    parser.add_argument(
        "--source",
        choices=SOURCES,
        default="auto",
        help="real: the clip of the LDC or an error; synthetic: the shipped clip of the same sentence; "
        "auto (the default): the real one, or the shipped one if it cannot be had",
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    print(import_ldc93s1(flags.directory, source=flags.source, console=console))
