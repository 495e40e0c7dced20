"""Where a long recording is cut: in its silences, which the voice activity detector of WebRTC finds."""

import numpy as np
import soxr
import webrtcvad

FRAME_S = 0.03  # the detector decides on frames of 10, 20 or 30 ms
DETECTOR_RATES = (8000, 16000, 32000, 48000)
SHORTEST_SILENCE_S = 0.3  # what is shorter lies within words and between them
WARM_UP_FRAMES = 33  # a second: a new detector takes its first frames for speech, whatever they are
LONGEST_JOINED_SILENCE_S = 2.0
MARGIN_S = 0.15  # kept on both sides of speech: the detector is late at soft beginnings and early at soft ends


def split_at_silence(
    audio: np.ndarray, *, sample_rate: int, longest_s: float, aggressiveness: int = 1
) -> list[tuple[int, int]]:
    """Cut a recording into pieces of speech.

    Speech that lies close together stays in one piece as long as that is no longer than `longest_s`. Where somebody
    speaks for longer than that without a pause, the cut is made in the quietest moment of the second half of the time.

    Args:
        audio: int16 [samples], mono.
        sample_rate: Hz.
        longest_s: the most seconds of a piece, 1 or more.
        aggressiveness: 0 to 3; a higher one takes more for silence.
    Returns:
        (first sample, sample after the last) of each piece, in order and without overlap; none where nobody speaks.
    """
    frame = round(FRAME_S * sample_rate)
    voiced = _voiced(audio, sample_rate, aggressiveness)
    longest = max(int(longest_s * sample_rate / frame), 4)  # a frame may be some microseconds longer than FRAME_S
    runs = _join(_runs(voiced), longest_gap=round(SHORTEST_SILENCE_S / FRAME_S))
    runs = _join(runs, longest_gap=round(LONGEST_JOINED_SILENCE_S / FRAME_S), longest=longest)
    margin = round(MARGIN_S / FRAME_S)
    pieces: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(runs):
        # Up to the margin, but no more than half of the silence to the neighbour, and no longer than is allowed.
        before = start if not index else (start - runs[index - 1][1]) // 2
        after = len(voiced) - end if index + 1 == len(runs) else (runs[index + 1][0] - end) // 2
        room = max(longest - (end - start), 0) // 2
        start, end = start - min(margin, before, room), end + min(margin, after, room)
        while end - start > longest:
            cut = _quietest(audio, frame, start + longest // 2, start + longest)
            pieces.append((start, cut))
            start = cut
        pieces.append((start, end))
    return [(start * frame, min(end * frame, len(audio))) for start, end in pieces]


def _voiced(audio: np.ndarray, sample_rate: int, aggressiveness: int) -> np.ndarray:
    """Whether there is speech: bool [frames]; the last frame may be shorter than the others."""
    frame = round(FRAME_S * sample_rate)
    frames = -(-len(audio) // frame)
    if sample_rate not in DETECTOR_RATES:
        sample_rate, own_frame = 16000, frame
        frame = round(FRAME_S * sample_rate)
        audio = soxr.resample(audio, own_frame, frame)  # frame by frame: the decisions never drift from the audio
    detector = webrtcvad.Vad(aggressiveness)

    def is_speech(index: int) -> bool:
        piece = audio[index * frame : (index + 1) * frame].tobytes()  # a copy of all would double the memory
        return detector.is_speech(piece.ljust(2 * frame, b"\0"), sample_rate)

    for index in range(min(frames, WARM_UP_FRAMES)):
        is_speech(index)
    return np.fromiter(map(is_speech, range(frames)), bool, frames)


def _runs(voiced: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of each run of True.

    >>> _runs(np.array([0, 1, 1, 0, 1], bool))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _join(runs: list[tuple[int, int]], *, longest_gap: int, longest: int | None = None) -> list[tuple[int, int]]:
    """Join runs with a gap below `longest_gap`, where the joined one is no longer than `longest`.

    >>> _join([(0, 3), (4, 6), (20, 25)], longest_gap=5)
    [(0, 6), (20, 25)]
    """
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] < longest_gap and (longest is None or end - joined[-1][0] <= longest):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _quietest(audio: np.ndarray, frame: int, start: int, end: int) -> int:
    """The frame with the least energy of those from `start` on and before `end`."""
    frames = audio[start * frame : end * frame].astype(np.float64)
    frames = frames[: len(frames) // frame * frame].reshape(-1, frame)
    return start + int(np.argmin((frames**2).sum(axis=1)))
