import json
import os
import shutil
import sys

import numpy as np
import pytest
import soundfile

from deepspeech_training.commands.main import run as command
from deepspeech_training.runtime import transcribe as module

TRANSCRIPT = "she had your dark suit in greasy wash water all year"


@pytest.fixture
def recordings(tmp_path, clip, clip_path):
    """A folder with the clip, half of it in a folder inside, and a text."""
    folder = tmp_path / "recordings"
    (folder / "more").mkdir(parents=True)
    shutil.copy(clip_path, folder / "a.wav")
    soundfile.write(folder / "more" / "b.FLAC", clip[:23000], 16000, format="FLAC")
    (folder / "notes.txt").write_text("no audio", encoding="utf-8")
    return folder


@pytest.fixture
def run(model_path, capfd):
    """A function that runs the command; -> exit code, lines of stdout, stderr."""

    def call(*arguments):
        exit_code = command("transcribe", ["--model", str(model_path), "--proc", "1", *map(str, arguments)])
        out, err = capfd.readouterr()
        return exit_code, out.splitlines(), err

    return call


def test_one_file_gives_its_text_and_a_folder_one_line_for_each_file(run, recordings):
    assert run(recordings / "a.wav") == (0, [TRANSCRIPT], "")
    exit_code, lines, err = run(recordings)
    assert (exit_code, err) == (0, "")
    assert lines[0] == f"{recordings / 'a.wav'}\t{TRANSCRIPT}"
    assert lines[1].startswith(f"{recordings / 'more' / 'b.FLAC'}\tshe had your dark")


def test_json_has_one_line_for_each_file_of_a_list(run, recordings, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{recordings / 'a.wav'}\n\n{recordings}\n", encoding="utf-8")  # a.wav twice: done once
    exit_code, lines, _ = run("--list", listed, "--format", "json", "--proc", 2)
    answers = [json.loads(line) for line in lines]
    assert exit_code == 0 and [answer["audio"][-6:] for answer in answers] == ["/a.wav", "b.FLAC"]
    assert [word["word"] for word in answers[0]["transcripts"][0]["words"]] == TRANSCRIPT.split()


def test_a_second_run_does_only_what_is_missing(run, recordings, tmp_path):
    out_dir = tmp_path / "out"
    (recordings / "bad.wav").write_bytes(b"noise")
    exit_code, lines, err = run("--output_dir", out_dir, recordings)
    assert (exit_code, lines) == (1, []) and "bad.wav: not audio" in err and "1 of 3 files" in err
    assert (out_dir / "a.wav.txt").read_text(encoding="utf-8") == TRANSCRIPT + "\n"
    assert sorted(p.name for p in out_dir.rglob("*") if p.is_file()) == ["a.wav.txt", "b.FLAC.txt"]
    (recordings / "bad.wav").unlink()
    (out_dir / "a.wav.txt").write_text("kept", encoding="utf-8")
    (out_dir / "more" / "b.FLAC.txt").unlink()
    exit_code, _, err = run("--output_dir", out_dir, recordings)
    assert exit_code == 0 and "1 of 2 files have their result" in err
    assert (out_dir / "a.wav.txt").read_text(encoding="utf-8") == "kept"
    assert (out_dir / "more" / "b.FLAC.txt").is_file()


def test_what_looks_like_audio_is_read_or_named(run, recordings, monkeypatch):
    (recordings / "more" / "c.aiff").write_bytes(b"")
    soundfile.write(recordings / "more" / "c.aiff", soundfile.read(recordings / "a.wav")[0], 16000)
    for name in ("d.m4a", "e.mp4", "f.webm", "g.amr", "h.mp3", "i.opus"):
        (recordings / name).write_bytes(b"<html>" if name == "h.mp3" else b"\0\0\0\x20ftypisom")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "av", None)
    exit_code, lines, err = run(recordings)
    assert exit_code == 1 and len(lines) == 3 and lines[2] == f"{recordings / 'more' / 'c.aiff'}\t{TRANSCRIPT}"
    assert "d.m4a: MP4 needs the package av, which is not installed: pip install 'deepspeech_training[media]'" in err
    assert "h.mp3: not audio but an HTML page" in err and err.count("needs the p") == 5


def test_too_little_memory_for_one_file_does_not_end_the_others(run, recordings, monkeypatch):
    def split(audio, **how):
        raise MemoryError

    monkeypatch.setattr(module, "split_at_silence", split)
    exit_code, lines, err = run("--split", "2", recordings)
    assert exit_code == 1 and len(lines) == 1 and lines[0].startswith(f"{recordings / 'more' / 'b.FLAC'}\tshe had")
    assert "a.wav: there is too little memory" in err and "1 of 2 files" in err


class Crash(str):
    """The name of a file that ends the process that gets it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_ends_costs_the_file_that_it_was_at(model_path, recordings):
    good = str(recordings / "a.wav")
    paths = [good, good, Crash("bad.wav"), good]
    settings = module.Settings(str(model_path), module.BeamOptions())
    results = list(module.transcribe(paths, settings, processes=2))
    assert [text for text, _ in results] == [TRANSCRIPT, TRANSCRIPT, "", TRANSCRIPT]
    assert results[2][1] == "bad.wav: the process that transcribed it has ended: out of memory?"


@pytest.fixture
def long_recording(tmp_path, clip):
    """The clip three times, with five seconds of silence before each."""
    path = tmp_path / "long.flac"
    soundfile.write(path, np.concatenate([np.zeros(80000, np.int16), clip] * 3), 16000)
    return path


def test_a_long_recording_is_split_at_silences_and_its_times_count_from_the_start(run, long_recording):
    exit_code, lines, err = run("--format", "json", "--proc", 2, long_recording)
    answer = json.loads(lines[0])
    assert (exit_code, err, len(answer["segments"])) == (0, "", 3)
    # The network begins from zeros at each piece and never heard silence, so a word may come out otherwise.
    assert [len(segment["text"].split()) for segment in answer["segments"]] == pytest.approx([11] * 3, abs=2)
    starts = [word["start_time"] for word in answer["transcripts"][0]["words"]]
    assert starts == sorted(starts) and 4.8 < starts[0] < 6 and 2 * 7.9 + 5 < starts[-1] < 3 * 7.93
    assert [5 + 7.92 * i for i in range(3)] == pytest.approx([s["start_time"] for s in answer["segments"]], abs=0.5)
    assert len(json.loads(run("--format", "json", "--split", 0, long_recording)[1][0])["segments"]) == 1
    assert run(long_recording)[1] == [" ".join(segment["text"] for segment in answer["segments"])]


def test_subtitles(run, long_recording, recordings, tmp_path):
    exit_code, lines, _ = run("--format", "srt", long_recording)
    assert (exit_code, lines[0], lines[1][:9]) == (0, "1", "00:00:04,") and "suit in greasy wash" in lines[2]
    assert run("--format", "vtt", long_recording)[1][:2] == ["WEBVTT", ""]
    assert run("--format", "vtt", recordings)[0] == 2
    assert run("--format", "vtt", "--output_dir", tmp_path / "out", recordings)[0] == 0
    assert (tmp_path / "out" / "a.wav.vtt").read_text(encoding="utf-8").startswith("WEBVTT\n\n00:00:00.")


def test_what_cannot_be_done_is_said(run, recordings, tmp_path):
    (tmp_path / "empty").mkdir()
    shutil.copy(recordings / "a.wav", tmp_path / "a.wav")
    for arguments, exit_code, says in (
        ((tmp_path / "missing.wav",), 1, "no such file"),
        ((tmp_path / "empty",), 1, "no audio files"),
        (("--list", tmp_path / "missing.txt"), 1, "cannot read"),
        (("--proc", 0, recordings), 2, "--proc 0"),
        (("--split", 0.5, recordings), 2, "--split 0.5"),
        (("--output_dir", tmp_path / "out", recordings / "a.wav", tmp_path / "a.wav"), 1, "would both be written"),
    ):
        found, lines, err = run(*arguments)
        assert (found, lines) == (exit_code, []) and says in err
