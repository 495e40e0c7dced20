"""What the engine asks its workers for, and what it gets back. Without numpy: the process that asks needs none."""

from dataclasses import dataclass

AUDIO_FORMATS = ("wav", "flac")


@dataclass(frozen=True, slots=True)
class ClipJob:
    """What a worker is asked for: cut `start_s`..`end_s` (None: all) out of `source` and write `target`.

    It is written in `parts_dir` first, on the same file system. `expected_s` is the length that the corpus promises.
    """

    key: int
    source: str
    target: str
    parts_dir: str
    sample_rate: int
    audio_format: str
    start_s: float | None = None
    end_s: float | None = None
    expected_s: float | None = None


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What became of a job: a length, a size in bytes, levels in dB of full scale and a fingerprint, or a fault.

    `note` is what is odd about the sound of a clip that was made.
    """

    key: int
    num_samples: int = 0
    num_bytes: int = 0
    peak_db: float = 0.0
    rms_db: float = 0.0
    fingerprint: str = ""
    code: str = ""
    reason: str = ""
    note: str = ""
