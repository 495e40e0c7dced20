"""The generic importer: tables of other programs, and what is wrong with them."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_import_corpus import read

from deepspeech_training.importers.manifest import main
from deepspeech_training.importers.source import FolderSource
from deepspeech_training.importers.tables import read_csv, read_json_lines, read_tsv


def run(tmp_path, *arguments) -> int:
    return main([str(tmp_path / "corpus"), *arguments, "--output_dir", str(tmp_path / "out"), "--workers", "1"])


@pytest.fixture
def clips(tmp_path, make_wav):
    for name in "abcdef":
        make_wav(tmp_path / "corpus" / "audio" / f"{name}.wav", 1.0)
    return tmp_path / "corpus"


def kept(tmp_path) -> list[tuple[str, str, str]]:
    return sorted(
        (part, row["transcript"], row["client_id"])
        for part in ("train", "dev", "test")
        for row in read(tmp_path / "out" / f"{part}.csv")
    )


def test_a_nemo_manifest_with_parts_of_recordings(clips, tmp_path):
    rows = [
        {"audio_filepath": "audio/a.wav", "text": f"part {w}", "offset": n / 4, "end": n / 4 + 0.25}
        for n, w in enumerate(["one", "two", "three"])
    ]
    (clips / "m.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\nnot json\n{"text": 1}\n')
    assert run(tmp_path, "m.jsonl", "--start_column", "offset", "--end_column", "end") == 0
    assert {text for _, text, _ in kept(tmp_path)} == {"part one", "part two", "part three"} - {
        row["transcript"] for row in read(tmp_path / "out" / "rejected.csv")
    }
    assert [row["reason_code"] for row in read(tmp_path / "out" / "rejected.csv")][-2:] == ["bad_row", "bad_row"]
    assert (tmp_path / "out" / "clips" / "audio" / "a-00000250-00000500.wav").stat().st_size == 44 + 2 * 4000


def test_a_table_may_be_named_as_a_path(clips, tmp_path, monkeypatch):
    (clips / "lists").mkdir()
    (clips / "lists" / "all.tsv").write_text("path\ttext\n../audio/a.wav\tone\n")
    (clips / "all.tsv").write_text("path\ttext\naudio/a.wav\tone\naudio/b.wav\ttwo\n")
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, str(clips / "all.tsv")) == 0 and len(kept(tmp_path)) == 2
    assert run(tmp_path, "corpus/all.tsv") == 0 and len(kept(tmp_path)) == 2
    assert run(tmp_path, "corpus/lists/all.tsv") == 0 and len(kept(tmp_path)) == 1
    (clips / "lists" / "all.tsv").write_text("path\ttext\n../../audio/a.wav\tone\n")
    assert run(tmp_path, "lists/all.tsv") == 1
    assert run(tmp_path, "/etc/passwd") == 1


def test_a_csv_with_a_column_for_the_set_and_quotes(clips, tmp_path):
    (clips / "all.csv").write_text(
        "path,split,speaker,text\n"
        'audio/a.wav,train,s1,"one, and\nmore"\naudio/b.wav,validation,s2,two\naudio/c.wav,test,s3,three\n'
        'audio/d.wav,train,s1\naudio/e.wav,../x,s1,five\naudio/f.wav,train,s1,"six\naudio/a.wav,dev,s1,seven\n'
    )
    assert run(tmp_path, "all.csv") == 0
    assert kept(tmp_path) == [
        ("dev", "seven", "s1"),
        ("dev", "two", "s2"),
        ("test", "three", "s3"),
        ("train", "one and more", "s1"),
    ]
    rejected = read(tmp_path / "out" / "rejected.csv")
    assert [(row["row"], row["reason"].split(" (")[0]) for row in rejected] == [
        ("6", "it has 3 fields, and the header 4"),
        ("7", "the set is called '../x'"),
        ("8", "its quotes do not match"),
    ]


def test_a_table_for_each_set_out_of_a_zip(clips, tmp_path):
    for number, part in enumerate(("train", "dev", "test")):
        (clips / f"{part}.tsv").write_text(f"said\tfile\nhe said {part}\taudio/{'abc'[number]}.wav\n")
    archive = shutil.make_archive(str(tmp_path / "corpus"), "zip", clips)
    arguments = [archive, "--train", "train.tsv", "--dev", "dev.tsv", "--test", "test.tsv", "--text_column", "said"]
    assert main([*arguments, "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert [text for _, text, _ in kept(tmp_path)] == ["he said dev", "he said test", "he said train"]


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        ("a,b\n1,2\n", [], 1, "no column is called wav_filename or"),
        ("wav,b\n1,2\n", ["--text_column", "c"], 1, "no column c"),
        ("", [], 1, "m.csv: it is empty"),
        ("wav,text\n", [], 1, "there are no rows"),
        ("wav,wav\n", [], 1, "twice"),
        ("wav,text\n", ["--start_column", "x"], 2, "go together"),
        ("wav,text\n", ["--numbers", "words", "--language", "xx"], 2, "does not know the language xx"),
        ("wav,text\n", ["--max_seconds", "-1"], 2, "--max_seconds"),
    ],
)
def test_what_is_wrong_is_named(content, arguments, code, message, clips, tmp_path, capsys):
    (clips / "m.csv").write_text(content)
    assert run(tmp_path, "m.csv", *arguments) == code
    assert message in capsys.readouterr().err


def test_no_table_and_a_missing_one(clips, tmp_path, capsys):
    assert run(tmp_path) == 2 and run(tmp_path, "none.csv") == 1
    assert "there is no none.csv in it" in capsys.readouterr().err


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([read_csv, read_tsv, read_json_lines]))
def test_no_bytes_crash_the_readers_and_every_row_has_its_number(tmp_path_factory, data, reader):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "t.csv").write_bytes(b"a,b\n" + data)
    if reader is read_tsv:
        (folder / "t.csv").write_bytes(b"a\tb\n" + data)
    numbers = []
    for number, fields, fault in reader(FolderSource(folder), "t.csv", ()):
        assert (fields is None) == bool(fault)
        numbers.append(number)
    assert numbers == sorted(set(numbers))
