"""The words of a transcript, with their times; and the JSON of DeepSpeech's client."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from deepspeech_training.runtime.stream import CandidateTranscript, Metadata


def to_json(metadata: Metadata) -> str:
    """The JSON of DeepSpeech's client."""
    transcripts = [
        {"confidence": transcript.confidence, "words": words(transcript)} for transcript in metadata.transcripts
    ]
    return json.dumps({"transcripts": transcripts}, indent=2, ensure_ascii=False)


def words(transcript: CandidateTranscript) -> list[dict[str, Any]]:
    """Words with `start_time` and `duration` in seconds: from their first character to the space after them.

    The last word ends where its last character begins, as in DeepSpeech's client.
    """
    found: list[dict[str, Any]] = []
    word, start_s = "", 0.0
    for index, token in enumerate(transcript.tokens):
        if token.text != " ":
            start_s = start_s if word else token.start_time
            word += token.text
        if word and (token.text == " " or index == len(transcript.tokens) - 1):
            found.append(
                {"word": word, "start_time": round(start_s, 4), "duration": round(token.start_time - start_s, 4)}
            )
            word = ""
    return found


def word_bounds(
    labels: Sequence[int], space: int | None, begin: int = 0, end: int | None = None
) -> list[tuple[int, int]]:
    """(first label, label after the last) of each word among the labels from `begin` on and before `end`.

    Args:
        space: the label that ends words; None: each label is a word.

    >>> word_bounds([0, 5, 6, 0, 0, 7], 0)
    [(1, 3), (5, 6)]
    """
    end = len(labels) if end is None else end
    if space is None:
        return [(place, place + 1) for place in range(begin, end)]
    spaces = [begin - 1, *(place for place in range(begin, end) if labels[place] == space), end]
    return [(before + 1, after) for before, after in pairwise(spaces) if after > before + 1]
