"""How many feature frames a clip has: the one arithmetic that samples, loader, features and export share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from deepspeech_training.errors import FlagError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class FeatureGeometry:
    """Window, step and depth of the features; the defaults are DeepSpeech's.

    Args:
        sample_rate: Hz, `--audio_sample_rate`.
        win_len_ms: length of the window of one frame, `--feature_win_len`.
        win_step_ms: from one frame to the next, `--feature_win_step`.
        n_mfcc: cepstral coefficients of a frame.
    Raises:
        FlagError: a value is not positive, or window or step are no whole number of samples.

    >>> FeatureGeometry().num_frames(16000)
    49
    """

    sample_rate: int = 16000
    win_len_ms: int = 32
    win_step_ms: int = 20
    n_mfcc: int = 26

    def __post_init__(self):
        for flag, value in (
            ("audio_sample_rate", self.sample_rate),
            ("feature_win_len", self.win_len_ms),
            ("feature_win_step", self.win_step_ms),
            ("n_mfcc", self.n_mfcc),
        ):
            if value < 1:
                raise FlagError(f"--{flag} {value}: it must be 1 or more")
        for flag, milliseconds in (("feature_win_len", self.win_len_ms), ("feature_win_step", self.win_step_ms)):
            if self.sample_rate * milliseconds % 1000:
                raise FlagError(
                    f"--{flag} {milliseconds}: at {self.sample_rate} Hz this is "
                    f"{self.sample_rate * milliseconds / 1000} samples\n"
                    "Choose a length in ms that is a whole number of samples at --audio_sample_rate."
                )

    @classmethod
    def from_description(cls, description: Mapping[str, int]) -> "FeatureGeometry":
        """What a checkpoint says of its features; older ones have the network's `n_context` there too.

        Raises:
            TypeError: it says what no features have.
        """
        return cls(**{name: value for name, value in description.items() if name != "n_context"})

    @property
    def window_samples(self) -> int:
        return self.sample_rate * self.win_len_ms // 1000

    @property
    def step_samples(self) -> int:
        return self.sample_rate * self.win_step_ms // 1000

    @overload
    def num_frames(self, num_samples: int) -> int: ...

    @overload
    def num_frames(self, num_samples: "np.ndarray") -> "np.ndarray": ...

    def num_frames(self, num_samples: "int | np.ndarray") -> "int | np.ndarray":
        """The frames of a clip: every window that lies wholly inside it.

        Args:
            num_samples: length of the clip at `sample_rate`; an int, or an integer array of any shape.
        Returns:
            The same kind and shape; 0 for a clip that is shorter than a window.

        >>> import numpy as np
        >>> FeatureGeometry().num_frames(np.array([511, 512, 831, 832]))
        array([0, 1, 1, 2])
        """
        # A clip shorter than a window by up to a step floors to -1 (0 frames); the maximum catches still shorter ones.
        frames = 1 + (num_samples - self.window_samples) // self.step_samples
        return max(frames, 0) if isinstance(frames, int) else frames.clip(0)
