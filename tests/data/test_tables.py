"""Tables in the forms that other programs write."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.data.tables import Columns, Entry, entries, read_csv, read_json, read_tsv, seconds
from deepspeech_training.errors import UserError
from deepspeech_training.text_files import TextFile


def text(data: bytes | str, name: str = "m.csv") -> TextFile:
    return TextFile(name, lambda: io.BytesIO(data.encode() if isinstance(data, str) else data))


def read(data: bytes | str, name: str = "m.csv", **columns) -> list[tuple[str, str, str]]:
    """(audio, transcript, speaker) of the rows without a fault."""
    found = entries(text(data, name), Columns(**columns))
    return [(entry.audio, entry.transcript, entry.speaker) for entry in found if not entry.fault]


def faults(data: bytes | str, name: str = "m.csv") -> dict[int, str]:
    return {entry.row: entry.fault for entry in entries(text(data, name)) if entry.fault}


@given(st.binary(max_size=300), st.sampled_from([read_csv, read_tsv, read_json]))
def test_no_bytes_crash_the_readers_and_every_row_has_its_number(data, reader):
    if reader is read_json:
        rows = list(reader(text(b"{}\n" + data)))
    else:
        rows = list(reader(text((b"a,b\n" if reader is read_csv else b"a\tb\n") + data), ()))
    numbers = [number for number, _, _ in rows]
    assert all((fields is None) == bool(fault) for _, fields, fault in rows)
    assert numbers == sorted(set(numbers))


@given(st.binary(max_size=200), st.sampled_from(["csv", "tsv", "txt", "json"]))
def test_no_bytes_crash_the_search_for_columns(data, end):
    for start in (b"", b"path,text\n", b"[", b"a|b|c\n"):
        try:
            for entry in entries(text(start + data, f"m.{end}")):
                assert isinstance(entry, Entry)
        except UserError as error:
            assert str(error).startswith("m.")


# --- named columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("metadata.csv", "file_name,transcription,speaker_id\na.wav,she had,ann\nb.wav,all year,bob\n"),
        ("metadata.csv", "audio_file|text|speaker_name|emotion_name\na.wav|she had|ann|x\nb.wav|all year|bob|y\n"),
        ("metadata.csv", "wav_filename;wav_filesize;transcript;client_id\na.wav;1;she had;ann\nb.wav;2;all year;bob\n"),
        ("train.tsv", "client_id\tpath\tsentence\nann\ta.wav\tshe had\nbob\tb.wav\tall year\n"),
        ("all.tsv", "Speaker\tFile_Name\tText\nann\ta.wav\tshe had\nbob\tb.wav\tall year\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a.wav", "transcription": "she had", "speaker": "ann"}\n'
            '{"audio": {"path": "b.wav", "bytes": null}, "text": "all year", "spk": "bob", "words": ["all"]}\n',
        ),
        (
            "data.json",
            json.dumps(
                [
                    {"audio_filepath": "a.wav", "text": "she had", "speaker": "ann"},
                    {"audio_filepath": "b.wav", "text": "all year", "speaker": "bob"},
                ],
                indent=2,
            ),
        ),
    ],
)
def test_columns_are_found_by_the_names_that_programs_give_them(name, data):
    expected = [("a.wav", "she had", "ann"), ("b.wav", "all year", "bob")]
    assert read(data, name) == expected
    assert read(data.encode("utf-16"), name) == expected


def test_a_table_without_known_columns_says_what_was_found():
    for name, data in (("m.csv", "a,b\n1,2\n"), ("m.tsv", "a\tb\n1\t2\n"), ("m.json", '{"a": 1, "b": 2}\n')):
        with pytest.raises(UserError, match=rf"{name}: no column is called wav_filename.*\n  found  a, b"):
            read(data, name)


def test_what_has_no_value_is_no_text_and_lists_are_faults():
    data = (
        '{"audio": "a.wav", "text": null}\n{"audio": "b.wav", "text": NaN, "speaker": null}\n'
        '{"audio": "c.wav", "text": ["c"]}\n{"audio": "d.wav", "text": true}\n{"audio": null, "text": "e"}\n'
        '{"audio": "f.wav", "text": 7, "speaker": 12}\n{"audio": "g.wav", "text": {"raw": "g"}}\n[1]\n'
        '{"audio": "h.wav", "speaker": Infinity}\n'
    )
    assert read(data, "m.jsonl") == [("a.wav", "", ""), ("b.wav", "", ""), ("f.wav", "7", "12")]
    found = faults(data, "m.jsonl")
    assert list(found) == [3, 4, 5, 7, 8, 9]
    assert "the column text has no text but a list" in found[3] and "bool" in found[4] and "dict" in found[7]
    assert "the column audio is empty" in found[5] and "no JSON object" in found[8] and "no column" in found[9]


def test_rows_of_a_list_are_numbered_as_an_editor_shows_them():
    data = '[\n  {"audio": "a.wav",\n   "text": "one"},\n\n  {"audio": "b.wav", "text": "two"}, 3\n]\n'
    assert [(entry.row, entry.transcript) for entry in entries(text(data, "m.json"))] == [
        (2, "one"),
        (5, "two"),
        (5, ""),
    ]
    with pytest.raises(UserError, match=r"m\.json, row 2: the list is no JSON"):
        read('[{"audio": "a.wav", "text": "one"},\n {"audio": "b.w', "m.json")


def test_a_row_in_another_encoding_is_a_fault_that_names_it():
    found = faults(b"path,text\na.wav,one\nb.wav,caf\xe9\nc.wav,three\n")
    assert list(found) == [3] and "Latin-1" in found[3]


@pytest.mark.parametrize(
    ("data", "rows", "kept"),
    [
        ('path,text\na.wav,"she had\nb.wav,your dark"\nc.wav,suit\n', [2, 3], ["c.wav"]),
        ('path,text,speaker\na.wav,one,"ann\nb.wav,two,"\nc.wav,three,bob\n', [2, 3], ["c.wav"]),
        ('path,text\nLJ001-0001,"she had\nLJ001-0002,your dark"\nLJ001-0003,suit\n', [2, 3], ["LJ001-0003"]),
        ('path,text\na.wav,"one, and\nmore, and more"\nb.wav,two\n', [], ["a.wav", "b.wav"]),
        ('path,text\na.wav,"never closed\nb.wav,two\n', [2], ["b.wav"]),
    ],
)
def test_an_open_quote_takes_in_no_rows(data, rows, kept):
    assert list(faults(data)) == rows and [audio for audio, _, _ in read(data)] == kept


# --- parts of recordings -------------------------------------------------------------------------------------------


def parts(*rows: dict) -> list:
    found = entries(text("\n".join(json.dumps({"audio": "a.wav", "text": "x"} | row) for row in rows), "m.json"))
    return [entry.fault or (entry.start_s, entry.end_s) for entry in found]


def test_an_offset_and_a_duration_are_a_part():
    assert parts({"offset": 0.0, "duration": 1.0}, {"offset": 1, "duration": 0.5}) == [(0.0, 1.0), (1.0, 1.5)]
    assert parts({"start": "1.5", "end": "00:01:02"}, {"start_ms": 1500, "end_ms": 2000}) == [(1.5, 62.0), (1.5, 2.0)]
    assert parts({"duration": 3.0}, {"offset": 0, "duration": 1}) == [(None, None), (0.0, 1.0)]
    assert parts({"offset": None, "duration": 3.0}, {"offset": 0.0, "duration": None}) == [(None, None)] * 2


def test_a_part_that_cannot_be_is_a_fault():
    found = parts({"offset": 1, "duration": 1}, {"offset": 2, "duration": None}, {"offset": 2, "duration": -1})
    assert found[0] == (1.0, 2.0) and "offset 2 and no duration" in found[1] and "no seconds" in found[2]


def test_dates_are_no_parts():
    assert parts({"start": "2020-01-01", "end": "2020-01-02"}) == [(None, None)]
    assert seconds("1:2:3:4") is None and seconds("inf") is None


# --- without a header ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a|She had.\n", ("a", "She had.", "")),
        ("a|She had 2.|she had two\n", ("a", "she had two", "")),
        ("a|She had your dark suit|she had your dark suit|john\n", ("a", "she had your dark suit", "john")),
        ("a|She had your suit|john\n", ("a", "She had your suit", "john")),
        ("s1/a.wav|17|She had your suit\n", ("s1/a.wav", "She had your suit", "17")),
        ("a|john|She had your suit|en\n", ("a", "She had your suit", "john")),
        ("a|yes|annabel\n", ("a", "yes", "annabel")),
        ("a|17|yes\n", ("a", "yes", "17")),
        ("a|7\n", ("a", "7", "")),
        ("a|She had||ann\n", ("a", "She had", "ann")),
    ],
)
def test_bars_are_told_by_what_stands_between_them(data, expected):
    assert read(data, "metadata.csv") == [expected] == read(data, "metadata.txt")


def test_a_normalised_text_that_lacks_is_that_of_the_next_field():
    data = "a|She had 2|she had two\nb|All year|\nc|Your suit\nd|x|y|z\ne|1 year|one year\n"
    assert [said for _, said, _ in read(data)] == ["she had two", "All year", "Your suit", "one year"]
    assert "it has 4 fields, and most rows 3" in faults(data)[4]


def test_lines_with_tabs_need_a_header_unless_they_begin_with_a_recording():
    assert read("a.wav\tshe had\nb.wav\tall year\n", "m.tsv") == [("a.wav", "she had", ""), ("b.wav", "all year", "")]
    found = entries(text("a\tshe had\n", "transcripts.tsv"), bare=True)
    assert [(entry.audio, entry.transcript) for entry in found] == [("a", "she had")]
