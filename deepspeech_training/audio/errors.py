"""What is wrong with a file that cannot be used as audio."""


class AudioError(Exception):
    """A file that cannot be used as audio.

    Args:
        reason: what is wrong with it, without its path.
        code: `missing_file`, `unreadable` or `empty_audio`: the reason codes of `samples`.
    """

    def __init__(self, reason: str, *, code: str = "unreadable"):
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TooLong(AudioError):
    """A file that lasts longer than is taken.

    Args:
        most_s: seconds that are taken.
        found_s: how long it is, if that is known.
    """

    def __init__(self, most_s: float, found_s: float | None = None):
        lasts = f"longer than {_spoken(most_s)}" if found_s is None else f"{_spoken(found_s)} long"
        super().__init__(f"it is {lasts}; at most {_spoken(most_s)} are taken")
        self.most_s = most_s


def _spoken(seconds: float) -> str:
    return f"{seconds / 3600:.4g} hours" if seconds >= 7200 else f"{seconds:.4g} s"


def cut(present_s: float, promised_s: float | None = None, *, sign: str = "") -> AudioError:
    """The error of a file whose end is missing.

    Args:
        present_s: how long what is there lasts.
        promised_s: what the header says; None where it says nothing, and `sign` tells how one knows.
    """
    if promised_s is not None:
        return AudioError(
            f"it is cut (truncated): its header promises {promised_s:.2f} s, the file holds {present_s:.2f} s"
        )
    return AudioError(f"it is cut (truncated): {sign}; the file holds {present_s:.2f} s")
