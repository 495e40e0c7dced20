"""show_data.py, stats.py and check_data.py on tiny CSVs."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from deepspeech_training.commands.main import run


@pytest.fixture
def train(corpus, make_wav, tmp_path):
    path = corpus(["hello there", "a", "good night"], speakers=["ann", "bob", "ann"])
    make_wav(tmp_path / "train_wavs" / "1.wav", 3.0)
    return path


def test_stats_come_from_the_headers(train, capsys):
    assert run("data stats", [train, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)[train]
    assert numbers["hours"] == round(5 / 3600, 4) and numbers["clips"] == 3 and numbers["speakers"] == 2
    assert numbers["seconds"] == {"shortest": 1.0, "median": 1.0, "99%": 3.0, "longest": 3.0}
    assert numbers["characters"]["o"] == 3 and numbers["sample_rates"] == {"16000": 3} and numbers["words"] == 5
    assert run("data stats", ["-csv", f"{train},{Path(train).parent}/./train.csv"]) == 0
    assert "all together: 6 clips" in capsys.readouterr().out


def test_stats_count_faults_and_say_so(train, tmp_path, capsys):
    (tmp_path / "train_wavs" / "0.wav").write_text("no audio")
    assert run("data stats", [train]) == 1
    assert "2 (1 more with faults)" in capsys.readouterr().out
    assert run("data stats", [str(tmp_path / "none.csv")]) == 1 and run("data stats", []) == 1


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        ([], [2, 3, 4]),
        (["--sort=-seconds"], [3, 2, 4]),
        (["--sort", "transcript", "--number", "2"], [3, 4]),
        (["--match", "^g|^h"], [2, 4]),
        (["--speaker", "b"], [3]),
        (["--min_seconds", "2"], [3]),
        (["--max_seconds", "2", "--number", "1"], [2]),
        (["--faults"], []),
    ],
)
def test_clips_are_filtered_and_sorted(flags, rows, train, capsys):
    assert run("data show", [train, *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split(":")[1].split()[0]) for line in lines] == rows


def test_what_is_exported_trains_from_its_own_folder(train, tmp_path, capsys):
    target = tmp_path / "elsewhere" / "few.csv"
    target.parent.mkdir()
    assert (
        run("data show", [train, "--speaker", "ann", "--export", str(target), "--copy_to", str(tmp_path / "listen")])
        == 0
    )
    with open(target, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["wav_filename"] for row in rows] == ["../train_wavs/0.wav", "../train_wavs/2.wav"]
    assert sorted(path.name for path in (tmp_path / "listen").iterdir()) == [
        "0001-0.wav",
        "0002-2.wav",
        "transcripts.tsv",
    ]
    capsys.readouterr()
    assert run("data check", ["--train_files", str(target)]) == 0
    assert "2 rows can be used, 0 cannot" in capsys.readouterr().out


def test_control_characters_do_not_reach_the_terminal(corpus, capsys):
    assert run("data show", [corpus(["a\x1b[2Jb"])]) == 0
    assert "a\\x1b[2Jb" in capsys.readouterr().out


def test_wrong_flags_are_told(train, capsys):
    assert run("data show", [train, "--sort", "size"]) == 2
    assert run("data show", [train, "--match", "("]) == 2
    assert run("data show", [train, "--number", "-1"]) == 2
    assert run("data check", []) == 2 and run("data check", ["--train_fils", "x"]) == 2
    assert "name at least one of --train_files" in capsys.readouterr().err


def test_playing_needs_a_player(train, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert run("data show", [train, "--play"]) == 1
    assert "--copy_to" in capsys.readouterr().err


def test_clips_are_played_one_after_the_other(train, tmp_path, monkeypatch, capsys):
    player = tmp_path / "bin" / "play"
    player.parent.mkdir()
    player.write_text(f'#!/bin/sh\necho "$2" >> {tmp_path}/played\n')
    player.chmod(0o755)
    monkeypatch.setenv("PATH", f"{player.parent}:/usr/bin:/bin")
    assert run("data show", [train, "--number", "2", "--play"]) == 0
    played = (tmp_path / "played").read_text().split()
    assert [name.rsplit("/", 1)[1] for name in played] == ["0.wav", "1.wav"]


def test_the_check_is_the_trainers(corpus, tmp_path, capsys):
    path = corpus(["hello", "HELLO", "x" * 90])
    assert run("data check", ["--train_files", path]) == 1
    printed = capsys.readouterr()
    assert "not in the alphabet" in printed.err and "too short" in printed.err and "Traceback" not in printed.err
    rejected = tmp_path / "rejected.csv"
    assert run("data check", ["--train_files", path, "--rejected_file", str(rejected)]) == 1
    assert "1 rows can be used, 2 cannot" in capsys.readouterr().out
    assert [line.split(",")[1] for line in rejected.read_text().splitlines()[1:]] == ["3", "4"]
