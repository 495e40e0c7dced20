"""What one service takes on: each limit is a flag of `deepspeech serve`, and a refusal names the flag."""

from dataclasses import Field, dataclass, field, fields
from typing import Any

from deepspeech_training.errors import FlagError
from deepspeech_training.runtime.pronouncer import MAX_SYMBOLS

MB = 2**20


def _limit(default: float, unit: str, meaning: str, *, least: float = 1) -> Any:
    return field(default=default, metadata={"unit": unit, "meaning": meaning, "least": least})


@dataclass(frozen=True)
class Limits:
    """The bounds; a field IS a flag.

    Raises:
        FlagError: a value is out of bounds.
    """

    max_upload_mb: int = _limit(100, "MB", "an uploaded file")
    max_audio_s: float = _limit(14400.0, "s", "audio of an uploaded file")
    max_files: int = _limit(32, "", "files that arrive, wait or are recognised at once")
    max_waiting: int = _limit(16, "", "uploaded files that wait for their turn", least=0)
    max_sessions: int = _limit(64, "", "streams at once")
    max_session_s: float = _limit(0.0, "s", "how long a stream may last; 0: without end", least=0)
    max_behind_s: float = _limit(30.0, "s", "audio of a stream that waits for being recognised")
    max_message_mb: float = _limit(1.0, "MB", "a message of a stream", least=0.01)
    beam_width: int = _limit(100, "", "beam width of streams and files that name none, where there is a scorer")
    max_beam_width: int = _limit(1024, "", "beam width that a client may ask for")
    max_hot_words: int = _limit(500, "", "hot words of a client", least=0)
    max_words: int = _limit(100, "", "words of a request to /v1/g2p")
    max_word_symbols: int = _limit(50, "", "letters or phones of a word there")
    idle_s: float = _limit(60.0, "s", "how long a stream or an upload may send nothing")
    send_timeout_s: float = _limit(10.0, "s", "how long a client may leave unread what it is sent")
    grace_s: float = _limit(20.0, "s", "how long streams and files may take to end after SIGTERM", least=0)

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, least = getattr(self, limit.name), limit.metadata["least"]
            if not least <= value <= 1e9:
                raise FlagError(f"--{limit.name} {value:g}: it must be a number from {least:g} to 1e9")
        if self.max_word_symbols > MAX_SYMBOLS:
            raise FlagError(f"--max_word_symbols {self.max_word_symbols}: no model takes more than {MAX_SYMBOLS}")

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * MB

    @property
    def max_message_bytes(self) -> int:
        return int(self.max_message_mb * MB)

    def lines(self) -> str:
        """All of them in short, for the log.

        >>> Limits().lines().split(", ")[:2]
        ['max_upload_mb 100', 'max_audio_s 14400']
        """
        return ", ".join(f"{limit.name} {getattr(self, limit.name):g}" for limit in fields(self))


def limit_fields() -> tuple[Field, ...]:
    return fields(Limits)
