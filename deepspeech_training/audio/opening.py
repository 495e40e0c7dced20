"""Opens a file of any format: what it is by its first bytes, and what of it is sound, whatever its header says."""

import io
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from deepspeech_training.audio import containers, flac, mp3, ogg, programs, shards, wav
from deepspeech_training.audio.errors import AudioError, cut
from deepspeech_training.audio.formats import HEADERLESS_SUFFIXES, kind_of, what_else
from deepspeech_training.audio.parts import AudioInfo, Part, Pcm16, Sndfile
from deepspeech_training.audio.pieces import Pieces

if TYPE_CHECKING:
    import soundfile

_MOST_READ_AT_ONCE = 1 << 24  # bytes
# Of codecs whose frames all have the same size, so that the length is known without decoding; bytes of a sample.
_SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_SAMPLE_BYTES |= {"ULAW": 1, "ALAW": 1}


def open_parts(path: str, resources: ExitStack, *, most_s: float) -> list[Part]:
    """The recordings of a file, in their order: more than one where files were joined.

    Args:
        path: of the file, or of a clip in a shard.
        resources: closes what is opened.
        most_s: seconds; where a file has to be decoded to know its length, that ends there with an error.
    Raises:
        AudioError: the file is missing, unreadable, cut, or no audio.
    """
    suffix = os.path.splitext(path)[1].lower()
    path = shards.as_file(path, resources)
    file, head = _open_file(path, resources)
    kind, demuxer = kind_of(head)
    if kind == "WAV":
        return _wav_parts(path, file, head, resources, most_s)
    if suffix in HEADERLESS_SUFFIXES.split():
        raise AudioError("raw samples without a header: nothing tells their rate and kind (convert it to WAV)")
    start = 0
    if head[:3] == b"ID3":
        start, kind, demuxer = _behind_id3(file)
    elif not kind and suffix in (".mp1", ".mp2", ".mp3") and not what_else(head):
        kind = "MP3"
    buffered = resources.enter_context(io.BufferedReader(file))
    try:
        if kind == "FLAC":
            return [_flac_part(path, buffered, start, resources)]
        if kind == "MP3":
            return _mp3_parts(path, file, buffered, resources)
        if kind == "Ogg":
            return _ogg_parts(path, file, buffered, resources)
        return [_in_container(path, kind, buffered, resources, most_s)]
    except _sndfile_error() as error:
        if not kind and (named := what_else(head)):
            raise AudioError(f"not audio but {named}") from error
        decoded = None
        if kind not in ("FLAC", "MP3"):
            decoded = programs.decode(path, suffix, kind, demuxer, resources, most_s=most_s)
        if decoded is None:
            raise AudioError(_not_audio(error.error_string)) from error
    return _decoded_parts(*decoded)


def _flac_part(path: str, file: BinaryIO, start: int, resources: ExitStack) -> Part:
    found = flac.layout(file, start)
    info = AudioInfo(found.num_frames, found.sample_rate, found.channels)
    return Sndfile(path if found.is_plain else Pieces(file, found.pieces(file)), resources, info=info)


def _mp3_parts(path: str, file: io.FileIO, buffered: BinaryIO, resources: ExitStack) -> list[Part]:
    with _content(file) as data:
        streams = mp3.streams(data)
        is_plain = len(streams) == 1 and streams[0].is_plain(len(data))
    return [_mp3_part(path if is_plain else stream.pieces(buffered), stream, resources) for stream in streams]


def _ogg_parts(path: str, file: io.FileIO, buffered: BinaryIO, resources: ExitStack) -> list[Part]:
    with _content(file) as data:
        links = ogg.links(data)
    if len(links) == 1:
        return [Sndfile(path, resources)]
    return [Sndfile(Pieces(buffered, [link]), resources) for link in links]


def _mp3_part(source: str | Pieces, stream: mp3.Stream, resources: ExitStack) -> Part:
    known = stream.num_samples
    info = None if known is None else AudioInfo(known, stream.first.sample_rate, stream.first.channels)
    return Sndfile(source, resources, info=info, quiet=True)


def _open_file(path: str, resources: ExitStack) -> tuple[io.FileIO, bytes]:
    """The file, and its first bytes."""
    try:
        # To open a named pipe would wait for ever.
        file = resources.enter_context(io.FileIO(path, "rb", opener=_without_waiting))
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise AudioError("it is not a regular file")
        if not status.st_size:
            raise AudioError("the file has 0 bytes", code="empty_audio")
        return file, file.read(wav.HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError("the file does not exist", code="missing_file") from error
    except IsADirectoryError as error:
        raise AudioError("it is not a regular file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AudioError(f"cannot open it: {getattr(error, 'strerror', None) or error}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _sndfile_error() -> "type[soundfile.LibsndfileError]":
    import soundfile

    return soundfile.LibsndfileError


def _not_audio(libsndfile_says: str) -> str:
    if "SF_INFO struct incomplete" in libsndfile_says:
        return "its header lacks the sample rate (0 Hz) or the number of channels"
    return f"not audio that libsndfile can read: {libsndfile_says or 'unknown format'}"


def _behind_id3(file: io.FileIO) -> tuple[int, str, str]:
    """Where what follows an ID3 tag begins, and what it is: FLAC has such tags too, by mistake."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(wav.HEAD_BYTES)
        after = mp3.after_tag(head, 0, len(head)) if head[:3] == b"ID3" else None
        if after is None:
            break
        at += after
    kind, demuxer = kind_of(head)
    return (at, kind, demuxer) if kind in ("FLAC", "AAC") else (0, "MP3", "mp3")


@contextmanager
def _content(file: io.FileIO) -> Iterator[bytes | mmap.mmap]:
    """All of a file; of a long one only what is looked at is in memory."""
    if os.fstat(file.fileno()).st_size <= _MOST_READ_AT_ONCE:
        file.seek(0)
        yield file.readall()
    else:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _wav_parts(path: str, file: io.FileIO, head: bytes, resources: ExitStack, most_s: float) -> list[Part]:
    sounds = wav.sounds(file, head)
    parts: list[Part] = []
    for sound in sounds:
        if sound.format.is_pcm_16:
            parts.append(Pcm16(file, sound, head))
        elif sound.format.tag in (wav.MPEG, wav.MP3):
            with _content(file) as data:
                streams = mp3.streams(data, sound.start, sound.start + sound.num_bytes)
            parts += [_mp3_part(stream.pieces(file), stream, resources) for stream in streams]
        elif sound.num_bytes:
            source = path if sound.is_plain and len(sounds) == 1 else Pieces(file, sound.pieces())
            parts.append(_other_wav(source, sound, file, resources, most_s))
    return parts


def _other_wav(source: str | Pieces, sound: wav.WavSound, file: io.FileIO, resources: ExitStack, most_s: float) -> Part:
    """WAVs of other kinds: libsndfile reads the file, or what of it is sound if it does not find that in the file."""
    fault = ""
    for tried in (source, Pieces(file, sound.pieces())):
        try:
            part = Sndfile(tried, resources)
        except _sndfile_error() as error:
            fault = _not_audio(error.error_string)
            continue
        if not sound.format.frame_bytes:
            part.count(most_s)
            return part
        if part.num_frames == sound.num_frames:
            return part
        fault = f"libsndfile finds {part.num_frames:,} samples in it, where there are {sound.num_frames:,}"
    raise AudioError(fault)


def _in_container(path: str, kind: str, file: BinaryIO, resources: ExitStack, most_s: float) -> Part:
    """What libsndfile reads, if it is all that the header promises; codecs without a fixed size are counted."""
    promise = containers.promise(kind, file)
    promised, present = (promise.promised, promise.present) if promise else (None, 0)
    try:
        part = Sndfile(path, resources, quiet=not kind)
    except _sndfile_error():
        if promised is not None and promised > present:
            bytes_of_both = f"{promised:,} bytes of sound, the file holds {present:,}"
            raise AudioError(f"it is cut (truncated): its header promises {bytes_of_both}") from None
        raise
    if part.subtype not in _SAMPLE_BYTES:
        part.count(most_s)
    present_s = part.num_frames / part.sample_rate
    if promised is not None and promised > present:
        raise cut(present_s, present_s * promised / max(present, 1))
    if promise is None:
        return part
    if promise.surplus:
        raise AudioError(
            f"its header ends the sound after {present_s:.2f} s, but {promise.surplus:,} bytes follow that are nothing "
            "else: its size field is wrong"
        )
    if kind != "VOC" and part.subtype in _SAMPLE_BYTES:
        num_frames = (present if promised is None else promised) // (_SAMPLE_BYTES[part.subtype] * part.channels)
        if num_frames != part.num_frames:
            raise AudioError(
                f"its header contradicts itself: {part.num_frames:,} samples, of which {num_frames:,} are there"
            )
    return part


def _decoded_parts(decoded: BinaryIO, promised_s: float | None) -> list[Part]:
    """The WAV that a program made of a file."""
    head = decoded.read(wav.HEAD_BYTES)
    parts: list[Part] = [Pcm16(decoded, sound, head) for sound in wav.sounds(decoded, head)]
    present_s = sum(part.num_frames / part.sample_rate for part in parts)
    # Codecs add some silence at both ends, and leave it away again; headers are rounded.
    if promised_s is not None and present_s < 0.95 * promised_s - 0.2:
        raise cut(present_s, promised_s)
    return parts
