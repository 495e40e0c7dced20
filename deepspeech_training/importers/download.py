"""Download of a public corpus: resumed after a break, checked, with a bar."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError

_CHUNK = 1 << 20
TIMEOUT_S = 60.0
ATTEMPTS = 5
DIGEST_LENGTHS = {"sha256": 64, "md5": 32}  # md5 is what some publishers give; it tells damage, not malice


def download(
    url: str, folder: Path, *, checksum: str = "", console: Console, attempts: int = ATTEMPTS, wait_s: float = 5.0
) -> Path:
    """Fetch `url` into `folder` under its own name; one that is there already and whole is not fetched again.

    Args:
        checksum: "sha256:HEX" or "md5:HEX"; "" takes what comes, and says so.
        attempts: how often to resume after the connection breaks, `wait_s` apart.
    Raises:
        FlagError: the checksum is none.
        UserError: the server cannot be reached, answers with an error, or sends something else.
    """
    kind, _, digest = checksum.partition(":")
    if checksum and (DIGEST_LENGTHS.get(kind) != len(digest) or set(digest.lower()) - set("0123456789abcdef")):
        raise FlagError(f"--sha256 {digest}: a SHA-256 has 64 hexadecimal digits")
    name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    if not name or name.startswith("."):
        raise UserError(f"{url}: the address names no file")
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / name, folder / f"{name}.part"
    if path.exists():
        console.info(f"Download    {path} is there already")
        return path
    for attempt in range(attempts):
        try:
            _fetch(url, part, console)
            break
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416:  # nothing is left to fetch
                    break
                if error.code < 500 or attempt == attempts - 1:
                    raise UserError(f"{url} answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == 28:
                raise
            if attempt == attempts - 1:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
                raise UserError(f"{url} cannot be had: {reason}\nThe same command resumes where it stopped.") from error
            console.warn(f"the connection broke; attempt {attempt + 2} of {attempts}")
        time.sleep(wait_s)
    if checksum:
        found = _digest(part, kind)
        if found != digest.lower():
            part.unlink()
            raise UserError(f"{url} sent another file: its {kind} is {found}, not {digest}\nIt was deleted; try again.")
    else:
        console.warn(f"{name} was downloaded without a checksum to compare with (--sha256)")
    part.replace(path)
    return path


def _fetch(url: str, part: Path, console: Console) -> None:
    """Fetch the rest of a file; the server says where it continues."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if have and response.status != 206:
            have = 0  # the server cannot resume, and sends all of it
        length = int(response.headers.get("Content-Length") or 0)
        with (
            open(part, "ab" if have else "wb") as file,
            console.progress("downloading", total=have + length >> 20, unit="MB", start=have >> 20) as progress,
        ):
            rest = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                rest += len(chunk)
                progress.update(rest >> 20)
                rest %= _CHUNK
        if length and part.stat().st_size < have + length:
            raise http.client.IncompleteRead(b"")


def _digest(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
