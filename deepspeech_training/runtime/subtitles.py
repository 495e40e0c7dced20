"""Words with their times -> subtitles: SubRip (.srt) and WebVTT (W3C, https://www.w3.org/TR/webvtt1/)."""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_S = 6.0
MOST_CHARACTERS = 84  # two lines of 42
LONGEST_PAUSE_S = 0.8
LINGERS_S = 0.5  # a cue stays on after its last word, unless the next one begins


@dataclass(frozen=True)
class Cue:
    """A text and when it is on the screen, in seconds."""

    start_s: float
    end_s: float
    text: str


def cues_of(words: Sequence[dict]) -> list[Cue]:
    """Words to cues of at most 84 characters and 6 s; a pause of 0.8 s begins a new one.

    Args:
        words: dicts with `word`, `start_time` and `duration` in seconds, in order.

    >>> said = [{"word": w, "start_time": t, "duration": 0.2} for w, t in (("she", 0.5), ("had", 3.0))]
    >>> cues_of(said)
    [Cue(start_s=0.5, end_s=1.2, text='she'), Cue(start_s=3.0, end_s=3.7, text='had')]
    """
    groups: list[list[dict]] = []
    for word in words:
        if groups and _fits(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    cues = []
    for index, group in enumerate(groups):
        end_s = _end(group[-1]) + LINGERS_S
        if index + 1 < len(groups):
            end_s = max(min(end_s, groups[index + 1][0]["start_time"]), group[0]["start_time"])
        cues.append(Cue(group[0]["start_time"], round(end_s, 4), " ".join(word["word"] for word in group)))
    return cues


def _end(word: dict) -> float:
    return word["start_time"] + word["duration"]


def _fits(group: list[dict], word: dict) -> bool:
    characters = sum(len(w["word"]) + 1 for w in group) + len(word["word"])
    return (
        characters <= MOST_CHARACTERS
        and _end(word) - group[0]["start_time"] <= LONGEST_S
        and word["start_time"] - _end(group[-1]) < LONGEST_PAUSE_S
    )


def to_srt(cues: Sequence[Cue]) -> str:
    """SubRip.

    >>> print(to_srt([Cue(0.5, 1.25, "she had")]))
    1
    00:00:00,500 --> 00:00:01,250
    she had
    <BLANKLINE>
    """
    return "\n".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    )


def to_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT."""
    blocks = ["WEBVTT\n"]
    for cue in cues:
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{text}\n")
    return "\n".join(blocks)


def _clock(seconds: float, point: str) -> str:
    """
    >>> _clock(3725.0625, ",")
    '01:02:05,062'
    """
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
