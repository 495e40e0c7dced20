"""Sound that is cut, too loud, silent or no sound at all, on its way through an importer."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recordings import encoded, mp3, tone, without_xing

from deepspeech_training.console import Console
from deepspeech_training.importers.corpus import Options, format_corpus
from deepspeech_training.importers.text_folder import text_folder


@pytest.fixture
def imported(tmp_path):
    """A function that imports files by name; -> lengths of the clips in s, reasons by name, what was said."""

    def run(recordings: dict[str, bytes]) -> tuple[dict[str, float], dict[str, str], str]:
        folder, out, stream = tmp_path / "recordings", tmp_path / "out", io.StringIO()
        folder.mkdir()
        for name, content in recordings.items():
            (folder / name).write_bytes(content)
            (folder / name).with_suffix(".txt").write_text("hello")
        format_corpus(text_folder(), [folder], Options(out, workers=1), Console(stream=stream))
        with open(out / "rejected.csv", encoding="utf-8", newline="") as file:
            rejected = {Path(row["wav_filename"]).name: row["reason"] for row in csv.DictReader(file)}
        return {path.name: soundfile.info(path).duration for path in out.rglob("*.wav")}, rejected, stream.getvalue()

    return run


def wav(audio, subtype="PCM_16") -> bytes:
    return encoded(audio, format="WAV", subtype=subtype)


def test_lengths_are_true_and_cut_files_are_rejected_as_cut(imported):
    whole = mp3(1.5, bitrate_mode="VARIABLE")
    vorbis = encoded(tone(1.0), format="OGG")
    clips, rejected, _ = imported(
        {
            "without_xing.mp3": without_xing(whole),
            "joined.mp3": whole + whole,
            "two.ogg": vorbis + vorbis,
            "call.wav": encoded(tone(1.0, 8000), 8000, format="WAV", subtype="GSM610"),
            "cut.mp3": whole[: len(whole) // 2],
            "cut.ogg": vorbis[: len(vorbis) // 2],
            "page.mp3": b"<!DOCTYPE html><html><body>404",
        }
    )
    lengths = {name: round(seconds, 1) for name, seconds in clips.items()}
    assert sorted(lengths.values()) == [1.0, 1.6, 2.0, 3.0]
    assert {name: reason.split(":")[0] for name, reason in rejected.items()} == {
        "cut.mp3": "it is cut (truncated)",
        "cut.ogg": "it is cut (truncated)",
        "page.mp3": "not audio but an HTML page, as a failed download leaves",
    }


def test_levels_that_no_recording_has_are_rejected_and_cancelled_channels_told(imported):
    clips, rejected, said = imported(
        {
            "of_int16.wav": wav(20_000 * tone(1.0), "FLOAT"),
            "divided_twice.wav": wav(tone(1.0) / 32768, "FLOAT"),
            "silent.wav": wav(np.zeros(16000)),
            "inverted.wav": wav(np.stack([tone(1.0), -tone(1.0)], axis=1)),
            "good.wav": wav(tone(1.0)),
        }
    )
    assert set(clips) == {"inverted.wav", "good.wav"}
    assert "reach 8,000" in rejected["of_int16.wav"] and "reach 1.2e-05" in rejected["divided_twice.wav"]
    assert "digital silence" in rejected["silent.wav"]
    assert "inverted.wav: its 2 channels cancel each other: channel" in said and "good.wav" not in said
