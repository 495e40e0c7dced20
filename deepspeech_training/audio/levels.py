"""How loud a recording is, and what mixing its channels leaves of it."""

from typing import TYPE_CHECKING

from deepspeech_training.audio.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

_LOUDEST = 10.0  # 20 dB above full scale: no codec and no resampler overshoots so far
_FAINTEST = 2.0**-14  # two steps of 16 bits
# Channels that have nothing in common lose power when they are mixed; those that lose ten times as much are inverted.
_CANCELS = 0.1
_FEWEST_FRAMES = 500  # to judge that by
_SILENCE = "it is digital silence: every sample is 0"


def mixed(block: "np.ndarray") -> "np.ndarray":
    """The mean of the channels: float32 [frames, channels] -> [frames]."""
    import numpy as np

    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


class Levels:
    """How loud a recording is, before and after its channels are mixed."""

    def __init__(self, channels: int, *, in_bounds: bool):
        import numpy as np

        self._in_bounds = in_bounds  # then the peak is 0 or 1: whether there is any sound
        self._peak = 0.0
        self._num_frames = 0  # of several channels
        self._power_left = 0.0
        self._powers = np.zeros(channels)

    def add(self, block: "np.ndarray", mono: "np.ndarray") -> None:
        import numpy as np

        if self._in_bounds:
            self._peak = max(self._peak, float(block.any()))
        elif np.isfinite(self._peak):
            peak = max(float(block.max()), -float(block.min()))
            self._peak = max(self._peak, peak) if np.isfinite(peak) else peak
        if block.shape[1] > 1:
            self._num_frames += len(block)
            self._powers += np.einsum("ij,ij->j", block, block)
            self._power_left += float(np.vdot(mono, mono))

    def check(self, *, may_be_faint: bool = True) -> None:
        """Raises: AudioError: no recording has such levels."""
        if not self._peak < float("inf"):
            raise AudioError("it has samples that are not finite numbers")
        if self._peak > _LOUDEST:
            raise AudioError(
                f"its samples reach {self._peak:,.6g}, where 1 is full scale: "
                "divide them by 32768, if they are 16-bit samples written as floats, and write it again"
            )
        if not may_be_faint and 0 < self._peak <= _FAINTEST:
            raise AudioError(
                f"its samples reach {self._peak:.2g} at most, where 1 is full scale, and 16 bits leave nothing of it: "
                "multiply them by 32768, if they were divided by it twice, and write it again"
            )

    @property
    def cancel(self) -> bool:
        """Whether mixing the channels leaves next to nothing of them."""
        unlike = float(self._powers.sum()) / len(self._powers) ** 2
        return self._num_frames >= _FEWEST_FRAMES and self._power_left < _CANCELS * unlike

    @property
    def loudest(self) -> int:
        return int(self._powers.argmax())

    def note(self) -> str:
        if self._peak == 0:
            return _SILENCE
        if self.cancel:
            return f"its {len(self._powers)} channels cancel each other: channel {self.loudest + 1} is taken alone"
        return ""
