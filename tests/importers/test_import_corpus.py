"""The engine: nothing is lost, a second run does nothing, and no speaker is in two sets."""

import csv
import io
import json
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.importers.corpus import Corpus, CorpusRow, Options, format_corpus
from deepspeech_training.importers.source import ends_with


def read(path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    """All that an import made, without its own notes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".import" not in path.parts
    }


@pytest.fixture
def imported(tmp_path, make_wav):
    """A function that imports rows: (audio, transcript, set, speaker), each audio is a second of tone."""

    def run(rows, *, out="out", seconds=1.0, **options):
        root = tmp_path / "corpus"
        root.mkdir(exist_ok=True)
        for audio, *_ in rows:
            if not audio.startswith(("/", "missing")) and ".." not in audio and not (root / audio).exists():
                make_wav(root / audio, seconds)
        corpus = Corpus(
            "tiny",
            lambda source: (CorpusRow("all.tsv", number, *row) for number, row in enumerate(rows, start=2)),
            ends_with("*.tsv"),
        )
        stream = io.StringIO()
        report = format_corpus(
            corpus, [root], Options(tmp_path / out, **{"workers": 1, **options}), Console(stream=stream)
        )
        return tmp_path / out, report, stream.getvalue()

    return run


def test_every_row_is_in_a_csv_or_among_the_rejected(imported):
    sets = ["train"] * 6 + ["dev"] * 2 + ["test"] * 2
    rows = [(f"{n}.wav", f"hello {'abcdefghij'[n]}", set_name) for n, set_name in enumerate(sets)]
    rows += [
        ("0.wav", "again", "train"),
        ("missing.wav", "gone", "train"),
        ("../../etc/passwd", "out", "train"),
        ("/etc/passwd", "out", "train"),
        ("10.wav", "a (b)", "train"),
        ("11.wav", "x" * 60, "train"),
        ("12.wav", "", "train"),
    ]
    out, report, _ = imported(rows)
    rejected = read(out / "rejected.csv")
    assert [(row["row"], row["reason_code"]) for row in rejected] == [
        ("12", "duplicate"),
        ("13", "missing_file"),
        ("14", "unsafe_name"),
        ("15", "unsafe_name"),
        ("16", "label_refused"),
        ("17", "too_short"),
        ("18", "empty_transcript"),
    ]
    assert all(row["source"] == "all.tsv" and row["reason"] for row in rejected)
    counts = {name: len(read(out / f"{name}.csv")) for name in ("train", "dev", "test")}
    assert counts == {"train": 6, "dev": 2, "test": 2}
    assert report["sources"]["all.tsv"]["rows"] == 17 == sum(counts.values()) + len(rejected)
    assert json.loads((out / "report.json").read_text()) == report
    row = read(out / "train.csv")[0]
    assert row == {"wav_filename": "clips/0.wav", "wav_filesize": "32044", "transcript": "hello a", "client_id": ""}
    assert (out / row["wav_filename"]).stat().st_size == 32044


def test_a_second_run_changes_nothing_and_converts_nothing(imported):
    rows = [(f"{n}.wav", "hello", "", f"speaker {n % 4}") for n in range(12)]
    out, _, _ = imported(rows)
    before = files(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "clips").iterdir()}
    _, _, log = imported(rows)
    assert "0 to convert, 12 done before" in log
    assert files(out) == before and {path: path.stat().st_mtime_ns for path in (out / "clips").iterdir()} == times


def test_what_was_cut_or_deleted_or_changed_is_made_again(imported, make_wav, tmp_path):
    rows = [(f"{n}.wav", "hello", "", f"speaker {n}") for n in range(4)]
    out, _, _ = imported(rows)
    before = files(out)
    (out / "clips" / "0.wav").unlink()
    (out / "clips" / "1.wav").write_bytes(b"cut")
    _, _, log = imported(rows)
    assert "2 to convert, 2 done before" in log and files(out) == before
    make_wav(tmp_path / "corpus" / "2.wav", 2.0)
    imported(rows)
    assert (out / "clips" / "2.wav").stat().st_size == 64044
    (out / ".import" / "ledger.sqlite").write_bytes(b"damaged" * 1000)
    _, _, log = imported(rows)
    assert "4 to convert" in log


def test_a_fault_is_remembered_until_another_decoder_is_there(imported, tmp_path, monkeypatch):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "bad.wav").write_text("no audio")
    rows = [("bad.wav", "hello"), ("1.wav", "hello"), ("2.wav", "hello")]
    imported(rows)
    assert "0 to convert, 3 done before" in imported(rows)[2]
    monkeypatch.setattr("deepspeech_training.importers.clips.decoder", lambda: "a newer one")
    assert "1 to convert, 2 done before" in imported(rows)[2]
    assert "0 to convert, 3 done before" in imported(rows)[2]


def test_another_format_replaces_the_clips(imported):
    rows = [(f"{n}.wav", "hello", "", f"speaker {n}") for n in range(4)]
    imported(rows)
    out, _, _ = imported(rows, audio_format="flac", sample_rate=8000)
    assert sorted(path.name for path in (out / "clips").iterdir()) == ["0.flac", "1.flac", "2.flac", "3.flac"]
    assert read(out / "train.csv")[0]["wav_filename"].endswith(".flac")


def test_sets_that_are_there_stay_and_one_that_lacks_is_some_of_the_train_speakers(imported):
    rows = [(f"{n}.wav", "hello", "train" if n < 20 else "dev", f"s{n // 2}") for n in range(24)]
    out, report, log = imported(rows)
    assert report["split"]["kind"] == "official" and "has no test: some speakers of its train are taken" in log
    clips = {part: {row["wav_filename"] for row in read(out / f"{part}.csv")} for part in ("train", "dev", "test")}
    assert clips["dev"] == {f"clips/{n}.wav" for n in range(20, 24)}
    assert len(clips["test"]) == 2 and len(clips["train"]) == 18 and report["split"]["shared_speakers"] == 0
    out, report, _ = imported(rows, test_share=0)
    assert [report["sets"][f"{part}.csv"]["clips"] for part in ("train", "dev", "test")] == [20, 4, 0]


@pytest.mark.parametrize("seed", range(6))
def test_speakers_are_never_shared(imported, seed):
    rng = random.Random(seed)
    speakers = rng.choice([3, 5, 12])
    rows = [(f"{n}.wav", "hello", "", f"s{rng.randrange(speakers)}") for n in range(60)]
    out, report, _ = imported(rows, seed=seed, seconds=0.3)
    parts = {part: {row["client_id"] for row in read(out / f"{part}.csv")} for part in ("train", "dev", "test")}
    assert all(parts.values()) and sum(map(len, parts.values())) == len(set.union(*parts.values()))
    assert sum(len(read(out / f"{part}.csv")) for part in parts) == 60
    assert report["split"]["shared_speakers"] == 0
    other, _, _ = imported(rows, out="again", seed=seed, seconds=0.3)
    assert files(other)["train.csv"] == files(out)["train.csv"]


def test_a_corpus_without_dev_keeps_its_test_and_gives_some_speakers_of_train(imported):
    rows = [(f"{n}.wav", "hello", "train" if n < 30 else "test", f"s{n % 30 // 3}") for n in range(36)]
    out, report, _ = imported(rows, seconds=0.3)
    parts = {part: read(out / f"{part}.csv") for part in ("train", "dev", "test")}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 27, "dev": 3, "test": 6}
    assert "some speakers of train" in report["split"]["says"]


def test_a_set_cannot_take_the_name_of_another_file(imported):
    out, _, _ = imported([("a.wav", "one", "rejected"), ("b.wav", "two", "../x"), ("c.wav", "three", "train")])
    assert [row["value"] for row in read(out / "rejected.csv")] == ["rejected", "../x"]


def test_a_corpus_without_speakers_is_split_by_clip_and_says_so(imported):
    out, _, log = imported([(f"{n}.wav", "hello", "", "") for n in range(40)], seconds=0.3)
    assert "by clip, for the corpus names no speakers" in log
    assert {part: len(read(out / f"{part}.csv")) for part in ("train", "dev", "test")} == {
        "train": 32,
        "dev": 4,
        "test": 4,
    }
    _, _, log = imported([(f"{n}.wav", "hello", "", "one") for n in range(40)], seconds=0.3)
    assert "one speaker" in log


def test_two_speakers_make_train_and_dev(imported):
    out, _, log = imported([(f"{n}.wav", "hello", "", "ab"[n % 3 == 0]) for n in range(9)], seconds=0.3)
    assert "test.csv is empty" in log
    assert {row["client_id"] for row in read(out / "dev.csv")} == {"b"} and not read(out / "test.csv")


def test_the_split_validated_wins_hours_and_keeps_dev_and_test(imported):
    rows = [
        ("t.wav", "train one", "train", "s1"),
        ("d.wav", "dev one", "dev", "s2"),
        ("e.wav", "test one", "test", "s3"),
    ]
    validated = [(audio, text, "validated", speaker) for audio, text, _, speaker in rows]
    validated += [("1.wav", "more", "validated", "s1"), ("2.wav", "dev one", "validated", "s4")]
    validated += [("3.wav", "held out", "validated", "s2")]
    out, report, _ = imported(rows + validated, split="validated")
    assert [row["transcript"] for row in read(out / "train.csv")] == ["train one", "more", "dev one"]
    assert report["split"]["hours_won"] == pytest.approx(2 / 3600)
    out, _, _ = imported(rows + validated, split="validated", unique_sentences=True)
    assert [row["transcript"] for row in read(out / "train.csv")] == ["train one", "more"]
    assert read(out / "train-all.csv") == read(out / "train.csv")
    assert [row["transcript"] for row in read(out / "test.csv")] == ["test one"]


def test_a_cut_by_length_says_what_it_drops(imported):
    imported([("short.wav", "a", "", "s1")], seconds=0.2)
    imported([("long.wav", "a", "", "s1")], seconds=3.0)
    rows = [("short.wav", "a"), ("long.wav", "a"), ("1.wav", "a"), ("2.wav", "b")]
    out, report, _ = imported(rows, min_seconds=0.5, max_seconds=2)
    assert report["rejected"] == {"above_max_seconds": 1, "below_min_seconds": 1}
    assert [row["value"] for row in read(out / "rejected.csv")] == ["0.20 s", "3.00 s"]


def test_the_alphabet_has_counts_of_rare_characters_and_reads_back(imported):
    from deepspeech_training.alphabet import Alphabet

    out, report, _ = imported([(f"{n}.wav", "abba" if n else "ça #", "", "") for n in range(12)])
    assert Alphabet.read(out / "alphabet.txt").characters == (" ", "a", "b", "ç", "#")
    assert Counter(report["characters"])["a"] == 23
    text = (out / "alphabet.txt").read_text(encoding="utf-8")
    assert "# rare: 'ç' (U+00E7) 1 times, as in all.tsv:2 ça" in text


def test_hashed_speakers(imported):
    out, _, _ = imported([(f"{n}.wav", "a", "", "Ann") for n in range(3)], hash_speakers=True)
    (speaker,) = {row["client_id"] for row in read(out / "train.csv")}
    assert len(speaker) == 32 and "Ann" not in (out / "train.csv").read_text()


def test_names_that_differ_only_in_their_end_get_files_of_their_own(imported):
    out, _, _ = imported([("a.wav", "one"), ("a.flac", "two"), ("b/a.wav", "three")])
    assert len({row["wav_filename"] for part in ("train", "dev", "test") for row in read(out / f"{part}.csv")}) == 3


def test_flags_that_cannot_be_are_told():
    for values in ({"max_seconds": 1, "min_seconds": 2}, {"dev_share": 1.0}, {"sample_rate": 11025}, {"workers": -1}):
        with pytest.raises(FlagError):
            Options(Path("x"), **values)


def test_no_row_left_is_an_error_with_the_reasons(imported):
    with pytest.raises(UserError, match=r"1 label_refused\n  the first: all.tsv, row 2: .*digits 1"):
        imported([("a.wav", "1")])


def test_two_imports_into_one_folder_are_refused(imported, tmp_path):
    import fcntl

    (tmp_path / "out" / ".import").mkdir(parents=True)
    with open(tmp_path / "out" / ".import" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another import"):
            imported([("a.wav", "one")])


def test_a_folder_that_cannot_be_written_is_told(imported, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out"):
        imported([("a.wav", "one")])
    assert os.path.isfile(tmp_path / "out")


def sound(path: Path, seed: int, *, rate: int = 16000, **options) -> None:
    """A second of noise, the same for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # As floats: of WAV and FLAC libsndfile rounds them otherwise.
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, 16000), rate, **options)


def parts_of(out: Path) -> dict[str, set[str]]:
    """The parts that each clip is in."""
    found: dict[str, set[str]] = {}
    for part in ("train", "dev", "test"):
        for row in read(out / f"{part}.csv"):
            found.setdefault(row["wav_filename"], set()).add(part)
    return found


def test_of_a_recording_in_two_formats_one_is_taken(imported, tmp_path):
    rows = []
    for number in range(12):
        for end in ("flac", "wav", "ogg"):
            sound(tmp_path / "corpus" / f"{number}.{end}", number)
            rows.append((f"{number}.{end}", "hi"))
    (tmp_path / "corpus" / "11.flac").write_text("no audio")
    out, _, _ = imported(rows)
    assert len(parts_of(out)) == 12
    rejected = [(row["wav_filename"], row["reason_code"], row["reason"]) for row in read(out / "rejected.csv")]
    assert ("0.ogg", "duplicate", "the same recording is taken from 0.flac") in rejected and len(rejected) == 24
    assert ("11.ogg", "duplicate", "the same recording is taken from 11.wav") in rejected


def test_renamed_copies_are_in_one_set_and_it_is_said(imported, tmp_path):
    rows = []
    for number in range(20):
        for name in (f"a/{number}.wav", f"b/copy of {number}.flac", f"c/{number}-24.wav"):
            sound(tmp_path / "corpus" / name, number, subtype="PCM_24" if "24" in name else "PCM_16")
            rows.append((name, "hi"))
    out, _, log = imported(rows)
    parts = parts_of(out)
    assert len(parts) == 60 and "20 recordings are there more than once" in log
    for number in range(20):
        names = (f"a/{number}", f"b/copy of {number}", f"c/{number}-24")
        assert len({frozenset(parts[f"clips/{name}.wav"]) for name in names}) == 1
    assert set.union(*parts.values()) == {"train", "dev", "test"}


def test_a_recording_of_two_sets_stays_where_it_is_tested(imported, tmp_path):
    rows = [("a.wav", "hi", "train"), ("b.wav", "hi", "test"), ("c.wav", "hi", "train"), ("c.wav", "hi", "dev")]
    rows += [("d.wav", "hi", "train"), ("e.wav", "you", "test"), ("f.wav", "hi", "train")]
    for name, seed in zip("abcdef", (1, 1, 2, 3, 3, 4), strict=True):
        sound(tmp_path / "corpus" / f"{name}.wav", seed)
    out, _, log = imported(rows, dev_share=0)
    assert parts_of(out) == {
        "clips/b.wav": {"test"},
        "clips/c.wav": {"dev"},
        "clips/d.wav": {"train"},
        "clips/e.wav": {"test"},
        "clips/f.wav": {"train"},
    }
    assert "2 rows are left out" in log and "d.wav and e.wav: is one of the two wrong?" in log
    assert [row["row"] for row in read(out / "rejected.csv")] == ["2", "4"]


def test_beeps_are_no_copies_and_silence_is_refused(imported, tmp_path):
    for number in range(24):
        sound(tmp_path / "corpus" / f"{number}.wav", 1)
    for number in range(24, 36):
        soundfile.write(tmp_path / "corpus" / f"{number}.wav", np.zeros(16000), 16000)
    out, _, _ = imported([(f"{number}.wav", "hi") for number in range(36)])
    assert len(parts_of(out)) == 24 and {frozenset(parts) for parts in parts_of(out).values()} >= {frozenset({"dev"})}
    assert (out / "rejected.csv").read_text().count("digital silence") == 12
