from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deepspeech_training.audio.synthetic_speech import SMOKE_CLIP
from deepspeech_training.runtime.segments import _voiced, split_at_silence
from deepspeech_training.runtime.subtitles import Cue, cues_of, to_srt, to_vtt

RATE = 16000


@pytest.fixture(scope="module")
def speech():
    """int16 [samples] of the sentence that the project ships, 3 s."""
    audio, rate = soundfile.read(SMOKE_CLIP, dtype="int16")
    assert rate == RATE
    return audio


def quiet(seconds: float, seed: int = 0, rate: int = RATE):
    return np.random.default_rng(seed).normal(scale=3, size=round(seconds * rate)).astype(np.int16)


def test_each_sentence_of_a_long_recording_is_a_piece(speech):
    audio = np.concatenate([quiet(5), speech, quiet(4, 1), speech, quiet(3, 2), speech, quiet(6, 3)])
    pieces = split_at_silence(audio, sample_rate=RATE, longest_s=20)
    assert len(pieces) == 3
    starts = np.array([5, 5 + 4 + len(speech) / RATE, 5 + 4 + 3 + 2 * len(speech) / RATE])
    for (start, end), expected in zip(pieces, starts, strict=True):
        assert expected - 0.5 < start / RATE < expected + 0.6
        assert expected + len(speech) / RATE - 0.8 < end / RATE < expected + len(speech) / RATE + 0.6


def test_sentences_close_together_stay_together_up_to_the_longest_piece(speech):
    audio = np.concatenate([speech, quiet(0.6), speech, quiet(0.6), speech])
    assert len(split_at_silence(audio, sample_rate=RATE, longest_s=20)) == 1
    assert len(split_at_silence(audio, sample_rate=RATE, longest_s=7.5)) == 2


def test_nobody_speaks_and_nothing_at_all():
    assert split_at_silence(quiet(40), sample_rate=RATE, longest_s=20) == []
    assert split_at_silence(np.zeros(0, np.int16), sample_rate=RATE, longest_s=20) == []


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    rng = np.random.default_rng(1)
    t = np.arange(30 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * (1 + 0.5 * np.sin(2 * np.pi * 4 * t))
    audio = (tone * 4000 + rng.normal(scale=300, size=len(t))).astype(np.int16)
    audio[round(8.1 * RATE) : round(8.2 * RATE)] //= 8  # too short for a silence
    pieces = split_at_silence(audio, sample_rate=RATE, longest_s=10, aggressiveness=0)
    assert pieces[0][1] == pieces[1][0] and 8.05 < pieces[0][1] / RATE < 8.25
    assert all(end - start <= 10 * RATE for start, end in pieces)


@settings(max_examples=25, deadline=None)
@example(gaps=[1.0, 1.0], longest_s=1.5, rate=11025, aggressiveness=0)  # 330.75 samples are 30 ms there
@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=5),
    longest_s=st.floats(1, 12),
    rate=st.sampled_from([8000, 11025, 16000, 22050, 48000]),
    aggressiveness=st.integers(0, 3),
)
def test_pieces_are_in_order_short_enough_and_hold_all_speech(gaps, longest_s, rate, aggressiveness):
    rng = np.random.default_rng(len(gaps))
    t = np.arange(round(1.3 * rate)) / rate
    voice = (sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 15)) * 5000).astype(np.int16)
    audio = np.concatenate([part for i, g in enumerate(gaps) for part in (quiet(g, i, rate), voice)])
    audio = audio + rng.integers(-5, 5, len(audio)).astype(np.int16)
    pieces = split_at_silence(audio, sample_rate=rate, longest_s=longest_s, aggressiveness=aggressiveness)
    edges = [edge for piece in pieces for edge in piece]
    assert edges == sorted(edges) and all(0 <= start < end <= len(audio) for start, end in pieces)
    assert all(end - start <= longest_s * rate for start, end in pieces)
    inside = np.zeros(len(audio), bool)
    for start, end in pieces:
        inside[start:end] = True
    frame = round(0.03 * rate)
    for index in np.flatnonzero(_voiced(audio, rate, aggressiveness)):
        assert inside[index * frame : (index + 1) * frame].all()


def test_cues_end_at_pauses_and_when_they_are_full():
    said = [{"word": "word", "start_time": 0.4 * i, "duration": 0.3} for i in range(40)]
    said += [{"word": "late", "start_time": 30.0, "duration": 0.0}]
    cues = cues_of(said)
    assert " ".join(cue.text for cue in cues) == "word " * 40 + "late"
    assert all(cue.end_s - cue.start_s <= 6.5 and len(cue.text) <= 84 for cue in cues)
    assert all(cue.end_s <= following.start_s for cue, following in pairwise(cues))
    assert cues[-1] == Cue(30.0, 30.5, "late") and cues_of([]) == []


def test_vtt_escapes_and_srt_counts():
    cues = [Cue(0, 1.5, "a & b"), Cue(3600, 3601, "<i>")]
    assert to_vtt(cues).splitlines() == [
        "WEBVTT",
        "",
        "00:00:00.000 --> 00:00:01.500",
        "a &amp; b",
        "",
        "01:00:00.000 --> 01:00:01.000",
        "&lt;i&gt;",
    ]
    assert to_srt(cues).splitlines()[4:] == ["2", "01:00:00,000 --> 01:00:01,000", "<i>"]
