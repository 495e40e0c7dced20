"""What libsndfile does not know, decoded by PyAV or by the programs ffmpeg and sox where one of these is installed."""

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from typing import BinaryIO

from deepspeech_training.audio import pyav
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.formats import FFMPEG_SUFFIXES, SOX_TYPES

_SIGNS_OF_A_CUT = re.compile(r".*(partial file|moov atom not found|truncat|ended prematurely).*", re.IGNORECASE)


def installed() -> list[str]:
    """What of them is there."""
    return ["PyAV"] * pyav.is_installed() + [program for program in ("ffmpeg", "sox") if shutil.which(program)]


def decode(
    path: str, suffix: str, kind: str, demuxer: str, resources: ExitStack, *, most_s: float
) -> tuple[BinaryIO, float | None] | None:
    """Decode a file into a WAV of 16 bits, with all channels and its own rate.

    Args:
        path: of the file.
        suffix: the end of its name, in small letters.
        kind: what it is by its first bytes, as `formats.kind_of` says, or "".
        demuxer: ffmpeg's for it; without one the suffix tells what sox takes it for.
        resources: closes what is returned.
        most_s: seconds; PyAV decodes no more of a file.
    Returns:
        The WAV as an unnamed temporary file, and the seconds that the header promises, if one knows them; None where
        neither the first bytes nor the name are those of a format that a program could read.
    Raises:
        AudioError: nothing that could decode it is installed, or it cannot; or the file is cut.
    """
    sox_type = SOX_TYPES.get(suffix)
    if demuxer and pyav.is_installed():
        return pyav.decode(path, demuxer, resources, most_s=most_s)
    if demuxer and (shutil.which("ffmpeg") or not sox_type):
        _must_be_there("ffmpeg", kind)
        return _ffmpeg(path, demuxer, resources)
    if sox_type:
        _must_be_there("sox", suffix[1:].upper())
        return _sox(path, sox_type, resources), None
    if suffix in FFMPEG_SUFFIXES.split():
        raise AudioError(f"not audio: it does not begin as a {suffix} file does; it is damaged, or something else")
    return None


def _must_be_there(program: str, kind: str) -> None:
    if shutil.which(program) is None:
        if program == "ffmpeg":
            raise AudioError(
                f"{kind} needs the package av, which is not installed: pip install 'deepspeech_training[media]' "
                "(the program ffmpeg does as well; or convert it to WAV or FLAC)"
            )
        raise AudioError(f"{kind} needs the program {program}, which is not installed (or convert it to WAV or FLAC)")


def _ffmpeg(path: str, demuxer: str, resources: ExitStack) -> tuple[BinaryIO, float | None]:
    # The demuxer is given, and only files may be opened: a playlist in disguise would read others, or the network.
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-protocol_whitelist", "file", "-f", demuxer]
    command += ["-i", f"file:{os.path.abspath(path)}", "-map", "0:a:0", "-c:a", "pcm_s16le", "-f", "wav", "-"]
    decoded, said = _run(command, resources)
    if duration := re.search(r"Duration: (\d+):(\d\d):(\d\d\.\d+)", said):
        hours, minutes, seconds = map(float, duration.groups())
        return decoded, 3600 * hours + 60 * minutes + seconds
    return decoded, None


def _sox(path: str, sox_type: str, resources: ExitStack) -> BinaryIO:
    command = ["sox", "-D", "-V1", "-t", sox_type, os.path.abspath(path), "-b", "16", "-e", "signed", "-t", "wav", "-"]
    return _run(command, resources)[0]


def _run(command: list[str], resources: ExitStack) -> tuple[BinaryIO, str]:
    """Run a program; returns what it wrote to stdout, in a temporary file, and what it said."""
    decoded = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=decoded, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode("utf-8", "replace")
    if sign := _SIGNS_OF_A_CUT.search(said):
        raise AudioError(f"it is cut (truncated): {command[0]} says: {_last_words(sign[0])}")
    if "Error while decoding" in said:
        raise AudioError(f"it is damaged or cut (truncated): {command[0]} says: error while decoding")
    if done.returncode or not os.fstat(decoded.fileno()).st_size:
        raise AudioError(f"{command[0]} cannot decode it: {_last_words(said)}")
    decoded.seek(0)
    return decoded, said


def _last_words(said: str) -> str:
    """The last line, without the names of parts of the program before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return re.sub(r"^\[[^]]*\]\s*|^sox \w+ \w+:\s*", "", lines[-1]) if lines else "nothing"
