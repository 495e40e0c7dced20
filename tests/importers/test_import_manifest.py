"""The generic importer: tables of other programs, and what is wrong with them."""

import json
import shutil

import pytest
from test_import_corpus import read

from deepspeech_training.commands.main import run as command


def run(tmp_path, *arguments) -> int:
    return command(
        "import manifest",
        [str(tmp_path / "corpus"), *arguments, "--output_dir", str(tmp_path / "out"), "--workers", "1"],
    )


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
    assert command("import manifest", [*arguments, "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
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


def test_a_part_is_cut_where_the_manifest_has_offset_and_duration(tmp_path, make_wav):
    make_wav(tmp_path / "corpus" / "long.wav", 3.0)
    rows = [{"audio_filepath": "long.wav", "offset": n, "duration": 1, "text": w} for n, w in enumerate(["one", "two"])]
    (tmp_path / "corpus" / "m.json").write_text("\n".join(map(json.dumps, rows)))
    assert run(tmp_path, "m.json") == 0
    assert {text for _, text, _ in kept(tmp_path)} == {"one", "two"}
    sizes = [path.stat().st_size for path in (tmp_path / "out" / "clips").iterdir()]
    assert sizes == [44 + 32000] * 2


def test_absolute_paths_inside_the_source_are_taken_and_others_refused(clips, tmp_path, make_wav):
    (tmp_path / "link").symlink_to(clips)
    make_wav(tmp_path / "outside.wav")
    paths = [clips / "audio" / "a.wav", tmp_path / "link" / "audio" / "b.wav", f"file://{clips}/audio/c.wav"]
    paths += [clips / ".." / "outside.wav", tmp_path / "outside.wav"]
    rows = [{"audio_filepath": str(path), "text": "one"} for path in paths]
    (clips / "m.json").write_text("\n".join(map(json.dumps, rows)))
    for source in (clips, tmp_path / "link"):
        assert (
            command("import manifest", [str(source), "m.json", "--output_dir", str(tmp_path / "out"), "--workers", "1"])
            == 0
        )
        assert len(kept(tmp_path)) == 3 and (tmp_path / "out" / "clips" / "audio" / "a.wav").is_file()
        rejected = read(tmp_path / "out" / "rejected.csv")
        assert [(row["row"], row["reason_code"]) for row in rejected] == [("4", "unsafe_name"), ("5", "unsafe_name")]
        assert f"not below {source}" in rejected[1]["reason"]


def test_what_has_no_value_is_rejected_with_its_reason(clips, tmp_path):
    (clips / "m.jsonl").write_text(
        '{"audio_filepath": "audio/a.wav", "text": "hello"}\n{"audio_filepath": "audio/b.wav", "text": null}\n'
        '{"audio_filepath": "audio/c.wav", "text": NaN, "speaker": null}\n'
        '{"audio_filepath": "audio/d.wav", "text": ["d"]}\n'
    )
    assert run(tmp_path, "m.jsonl") == 0
    assert [text for _, text, _ in kept(tmp_path)] == ["hello"]
    rejected = [(row["row"], row["reason_code"]) for row in read(tmp_path / "out" / "rejected.csv")]
    assert rejected == [("2", "empty_transcript"), ("3", "empty_transcript"), ("4", "bad_row")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "a|She had.|she had|ann\nb|All year.|all year|bob\n"),
        ("metadata.csv", "file_name,transcription\naudio/a.wav,she had\naudio/b.wav,all year\n"),
        ("m.tsv", "Path\tSentence\n.\\audio\\a.wav\tshe had\naudio\\b.wav\tall year\n"),
    ],
)
def test_metadata_of_other_programs_finds_its_recordings(clips, tmp_path, name, content):
    (clips / name).write_text(content)
    assert run(tmp_path, name) == 0
    assert sorted(text for _, text, _ in kept(tmp_path)) == ["all year", "she had"]


def test_controls_of_direction_become_no_labels(clips, tmp_path):
    (clips / "m.tsv").write_text(
        "path\tsentence\naudio/a.wav\t\u202bشكرا\u202c\naudio/b.wav\t\u2067שלום\u2069\naudio/c.wav\t\u061cمرحبا\n"
    )
    assert run(tmp_path, "m.tsv", "--language", "ar") == 0
    assert {text for _, text, _ in kept(tmp_path)} == {"شكرا", "שלום", "مرحبا"}
