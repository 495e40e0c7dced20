"""What libsndfile does not know, decoded by FFmpeg's libraries in this process, where the package PyAV is installed.

That is what browsers and phones record: Opus in WebM, AAC in MP4, AMR.
"""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

from deepspeech_training.audio.errors import AudioError, TooLong

if TYPE_CHECKING:
    import av.container

# Nothing but these is ever opened: pictures and films in a file cost nothing, and their decoders' faults no more.
_DECODERS = (
    "aac,aac_latm,ac3,eac3,alac,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,ape,cook,dca,flac,gsm,gsm_ms,libgsm,"
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,mpc7,mpc8,nellymoser,opus,libopus,pcm_alaw,pcm_f32be,pcm_f32le,pcm_f64le,"
    "pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8,adpcm_ima_qt,adpcm_ima_wav,"
    "adpcm_ms,adpcm_swf,qcelp,speex,libspeex,tta,vorbis,libvorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)
# Streams without a length in a header: libavformat guesses one from the first bit rates.
_LENGTH_IS_GUESSED = ("aac", "ac3", "amr", "mp3")
_UNKNOWN_SIZE = 0xFFFFFFFF  # as of programs that write into a pipe


def is_installed() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def decode(path: str, demuxer: str, resources: ExitStack, *, most_s: float) -> tuple[BinaryIO, float | None]:
    """Decode the first recording of a file into a WAV of 16 bits, with all channels and its own rate.

    Args:
        path: of the file.
        demuxer: libavformat's for it; no other is tried, so that a playlist in disguise is none.
        resources: closes what is returned.
        most_s: seconds; what is longer is an error.
    Returns:
        The WAV as an unnamed temporary file, and the seconds that the header promises, if it does.
    Raises:
        AudioError: it holds no sound, is damaged, cut or too long.
    """
    import av

    decoded = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    try:
        with (
            open(path, "rb") as file,
            av.open(
                file,
                "r",
                format=demuxer,
                metadata_errors="replace",
                options={"codec_whitelist": _DECODERS, "protocol_whitelist": "none"},
            ) as container,
        ):
            promised_s = _promised_s(container, demuxer)
            _write_wav(container, decoded, most_s)
    except MemoryError as error:
        raise AudioError("there is too little memory to decode it") from error
    except (av.error.EOFError, av.error.OSError) as error:
        raise AudioError(
            "it ends before any sound begins: it is empty or cut (truncated)", code="empty_audio"
        ) from error
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"it is damaged or cut (truncated): PyAV cannot decode it: {said}") from error
    decoded.seek(0)
    return decoded, promised_s


def _promised_s(container: "av.container.InputContainer", demuxer: str) -> float | None:
    if not container.streams.audio:
        others = ", ".join(sorted({stream.type for stream in container.streams}))
        raise AudioError(f"it holds no sound{f', only {others}' if others else ''}", code="empty_audio")
    if demuxer in _LENGTH_IS_GUESSED:
        return None
    stream = container.streams.audio[0]
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def _write_wav(container: "av.container.InputContainer", decoded: BinaryIO, most_s: float) -> None:
    num_samples = 0
    for frame in _frames(container):
        channels = frame.layout.nb_channels
        if not num_samples:
            decoded.write(_wav_header(frame.sample_rate, channels))
        decoded.write(memoryview(frame.planes[0])[: 2 * channels * frame.samples])
        num_samples += frame.samples
        if num_samples > most_s * frame.sample_rate:
            raise TooLong(most_s)
    if not num_samples:
        raise AudioError("it holds no audio", code="empty_audio")


def _frames(container: "av.container.InputContainer") -> "Iterator[av.AudioFrame]":
    """The samples as interleaved int16, all with the rate and the channels of the first; gaps are not filled."""
    import av

    stream = container.streams.audio[0]
    resampler, kind = av.AudioResampler(), ("", "", 0)
    first = None
    for frame in container.decode(stream):
        first = first or frame
        if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):  # it may change on the way
            resampler = av.AudioResampler(format="s16", layout=first.layout, rate=first.sample_rate)
        frame.pts = None
        yield from resampler.resample(frame)
    if first is not None:
        yield from resampler.resample(None)


def _wav_header(sample_rate: int, channels: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, sample_rate, 2 * channels * sample_rate, 2 * channels, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", _UNKNOWN_SIZE, b"WAVE", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", _UNKNOWN_SIZE)
    )
