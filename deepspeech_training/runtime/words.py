"""The words of a transcript, with their times; and the JSON of DeepSpeech's client."""

import json
from typing import Any

from deepspeech_training.runtime.model import CandidateTranscript, Metadata


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
