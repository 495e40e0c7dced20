"""What browsers and phones record, made by PyAV's own encoders; and the same with other ends."""

import io

import av
import numpy as np

# Ending of a name -> muxer of libavformat, encoder, rates that it takes.
KINDS = {
    "webm": ("webm", "libopus", 48000),
    "mka": ("matroska", "aac", 44100),
    "m4a": ("ipod", "aac", 44100),
    "3gp": ("3gp", "aac", 32000),
    "aac": ("adts", "aac", 16000),
    "opus": ("ogg", "libopus", 48000),
    "mp3": ("mp3", "libmp3lame", 44100),
    "flac": ("flac", "flac", 16000),
    "wav": ("wav", "pcm_s16le", 16000),
    "amr": ("amr", "libopencore_amrnb", 8000),
    "wv": ("wv", "wavpack", 16000),
    "ac3": ("ac3", "ac3", 48000),
}


def encoded(samples: np.ndarray, kind: str, *, options: dict[str, str] | None = None) -> bytes:
    """int16 [samples] at the rate of `KINDS[kind]` as a file of that kind; `options` are the muxer's."""
    muxer, codec, rate = KINDS[kind]
    file = io.BytesIO()
    with av.open(file, "w", format=muxer, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        whole = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        whole.sample_rate = rate
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format, layout="mono", rate=rate, frame_size=context.frame_size or None
        )
        for frame in [*resampler.resample(whole), *resampler.resample(None), None]:
            container.mux(stream.encode(frame))
    return file.getvalue()


def tone(seconds: float, rate: int, *, hertz: float = 220) -> np.ndarray:
    return (16000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def recording(kind: str, *, seconds: float = 2.0, options: dict[str, str] | None = None) -> bytes:
    """A tone of 220 Hz."""
    return encoded(tone(seconds, KINDS[kind][2]), kind, options=options)


def recorded_live(*, seconds: float = 2.0) -> bytes:
    """As a browser's MediaRecorder writes it: no length in the header, clusters of a second."""
    return recording("webm", seconds=seconds, options={"live": "1", "cluster_time_limit": "1000"})
