"""What a folder says of its recordings, and what of it is not taken."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.commands.main import run as command
from deepspeech_training.console import Console
from deepspeech_training.data.folder import VoiceFolder, missing, rejections, report, scan, split, write_csvs

ENGLISH = Alphabet.english()


def record(path: Path, text: str | bytes | None = None, *, seed: int = 0, seconds: float = 0.5, end=".txt") -> None:
    """A recording of noise, another one for each path unless `seed` says, with its text beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed or list(str(path).encode())).uniform(-0.2, 0.2, round(16000 * seconds))
    soundfile.write(path, noise, 16000, format={".oga": "OGG"}.get(path.suffix.lower()))
    if text is not None:
        path.with_suffix(end).write_bytes(text if isinstance(text, bytes) else text.encode())


def look(folder: Path) -> VoiceFolder:
    return scan(folder, Console())


def said(found: VoiceFolder) -> dict[str, str]:
    return {str(clip.path.relative_to(found.folder)): clip.transcript for clip in found.usable}


def test_texts_and_suffixes_may_be_in_capitals(tmp_path):
    record(tmp_path / "A.WAV", "one", end=".TXT")
    record(tmp_path / "b.Flac", "two", end=".Txt")
    record(tmp_path / "c.oga", "three", end=".lab")
    record(tmp_path / "d.wav")
    (tmp_path / "d.wav.txt").write_text("four")
    assert said(look(tmp_path)) == {"A.WAV": "one", "b.Flac": "two", "c.oga": "three", "d.wav": "four"}


def test_linked_folders_and_files_are_followed_once(tmp_path):
    record(tmp_path / "elsewhere" / "deep" / "a.wav", "one")
    record(tmp_path / "rec" / "b.wav", "two")
    (tmp_path / "rec" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "rec" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "rec" / "loop").symlink_to(tmp_path)
    (tmp_path / "rec" / "gone.wav").symlink_to("nowhere")
    found = look(tmp_path / "rec")
    assert sorted(said(found).values()) == ["one", "two"]
    assert [(clip.path.name, clip.error.code) for clip in found.clips if clip.error] == [("gone.wav", "missing_file")]


def test_what_looks_like_audio_and_cannot_be_read_is_named(tmp_path, capsys):
    record(tmp_path / "a.wav", "one")
    (tmp_path / "b.wma").write_bytes(b"\x30\x26\xb2\x75" + bytes(99))
    assert command("train", ["--check_voice_data", "--voice_data_dir", str(tmp_path)]) == 0
    assert "b.wma: " in capsys.readouterr().out
    assert [(r.wav_filename, r.reason_code) for r in rejections(look(tmp_path))] == [
        (f"{tmp_path}/b.wma", "unreadable")
    ]


# --- encodings -----------------------------------------------------------------------------------------------------


def test_utf_16_is_read_and_another_encoding_named(tmp_path, capsys):
    record(tmp_path / "a.wav", "hello there".encode("utf-16"))
    record(tmp_path / "b.wav", "café noir".encode("latin-1"))
    record(tmp_path / "c.wav", "hello\x00there")
    record(tmp_path / "d.wav", "cafÃ© noir")
    found = look(tmp_path)
    assert said(found) == {"a.wav": "hello there"}
    (told,) = missing(found, ENGLISH)
    assert (
        "3 transcripts cannot be read" in told
        and "b.txt: line 1: byte 0xe9 is not UTF-8; it seems to be Latin-1" in told
    )
    assert [(Path(r.csv_path).name, r.reason_code) for r in rejections(found)] == [
        ("b.txt", "bad_row"),
        ("c.txt", "bad_row"),
        ("d.txt", "bad_row"),
    ]
    assert command("train", ["--check_voice_data", "--voice_data_dir", str(tmp_path)]) == 1
    assert "'café noir'" in capsys.readouterr().out


# --- tables of other programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "one|She had.|she had\ntwo|All year.|all year\n"),
        ("metadata.csv", "one|She had your suit|she had|ann\ntwo|All year it was|all year|bob\n"),
        ("METADATA.CSV", "audio_file|text|speaker_name\nwavs/one.wav|she had|ann\nwavs/two.wav|all year|bob\n"),
        ("metadata.csv", 'file_name,transcription\nwavs/one.wav,she had\nwavs/two.wav,"all year"\n'),
        (
            "metadata.jsonl",
            '{"file_name": "wavs/one.wav", "text": "she had"}\n{"file_name": "two", "text": "all year"}',
        ),
        ("metadata.txt", "wavs/one.wav|17|she had\nwavs/two.wav|18|all year\n"),
        ("transcripts.tsv", "one\tshe had\ntwo.wav\tall year\n"),
        ("train.tsv", "client_id\tpath\tsentence\nann\tone.wav\tshe had\nbob\ttwo.wav\tall year\n"),
        ("all.csv", "wav_filename,wav_filesize,transcript\nwavs/one.wav,,she had\nwavs/two.wav,,all year\n"),
    ],
)
def test_tables_of_other_programs_are_read(tmp_path, name, content):
    for stem in ("one", "two"):
        record(tmp_path / "wavs" / f"{stem}.wav")
    (tmp_path / name).write_text(content)
    found = look(tmp_path)
    assert said(found) == {"wavs/one.wav": "she had", "wavs/two.wav": "all year"} and found.notes == ()
    assert found.texts == ()


def test_rows_that_name_no_recording_or_several_are_told(tmp_path):
    for folder in ("s1", "s2"):
        record(tmp_path / folder / "0.wav")
        record(tmp_path / folder / f"{folder}.wav")
    (tmp_path / "metadata.csv").write_text("0|zero\ns1|one\ns1/0|two\nnone|three\ns2/s2.wav|four\nx|y|z\n")
    found = look(tmp_path)
    assert said(found) == {"s1/s1.wav": "one", "s1/0.wav": "two", "s2/s2.wav": "four"}
    (note,) = found.notes
    assert "row 1: several recordings have this name: 0" in note
    assert "row 4: there is no such recording: none" in note and "row 6: it has 3 fields" in note


def test_a_table_of_parts_is_not_taken_for_whole_recordings(tmp_path):
    record(tmp_path / "long.wav")
    rows = [{"audio_filepath": "long.wav", "offset": n, "duration": 1, "text": "one"} for n in range(2)]
    (tmp_path / "manifest.json").write_text("\n".join(map(json.dumps, rows)))
    found = look(tmp_path)
    assert said(found) == {} and "it is a part of a recording: import it" in found.notes[0]


def test_a_table_that_cannot_be_read_is_told(tmp_path):
    record(tmp_path / "one.wav", "one")
    (tmp_path / "metadata.csv").write_text("id,words\none,two\n")
    (tmp_path / "rejected.csv").write_text("wav_filename,transcript\none.wav,wrong\n")
    found = look(tmp_path)
    assert said(found) == {"one.wav": "one"} and "metadata.csv is not taken: no column is called" in found.notes[0]


def test_speakers_of_a_table_are_not_divided(tmp_path):
    lines = []
    for number in range(30):
        record(tmp_path / f"{number}.wav")
        lines.append(f"{number}|some text here|some text here|speaker{number % 6}\n")
    (tmp_path / "metadata.csv").write_text("".join(lines))
    found = look(tmp_path)
    parts = split(found)
    speakers = {name: {clip.said.speaker for clip in clips} for name, clips in parts.items()}
    assert all(speakers.values()) and sum(map(len, speakers.values())) == 6
    written = write_csvs(found, tmp_path / "made", ENGLISH)
    assert Path(written["dev"]).read_text().splitlines()[0] == "wav_filename,wav_filesize,transcript,client_id"


# --- the same recording twice --------------------------------------------------------------------------------------


def test_of_a_recording_in_two_formats_one_is_taken_and_it_is_said(tmp_path):
    for number in range(12):
        record(tmp_path / f"{number}.wav", "hi", seed=number + 1)
        record(tmp_path / f"{number}.flac", seed=number + 1)
        record(tmp_path / f"{number}.mp3", seed=number + 1)
    (tmp_path / "11.wav").write_text("no audio")
    found = look(tmp_path)
    assert sorted(said(found)) == sorted([*(f"{number}.wav" for number in range(11)), "11.flac"])
    assert "23 recordings are there in another format too" in found.notes[0]
    assert sum(rejection.reason_code == "duplicate" for rejection in rejections(found)) == 23
    assert any("23 recordings" in line for line in report(found, ENGLISH))


@pytest.mark.parametrize("layout", ["{copy}{number}.wav", "{copy}/{number}.wav", "s{number}/{copy}.wav"])
def test_renamed_copies_stay_in_one_set(tmp_path, layout):
    for number in range(24):
        for copy in "ab":
            name = layout.format(copy=copy, number=number)
            record(tmp_path / name, "She had!" if copy == "a" else "she had", seed=number + 1)
    found = look(tmp_path)
    assert len(found.usable) == 48 and len(found.copies) == 24 and "24 recordings are copies" in found.notes[0]
    parts = split(found)
    assert all(parts.values()) and sum(map(len, parts.values())) == 48
    part_of = {clip.path: name for name, clips in parts.items() for clip in clips}
    assert all(part_of[copy] == part_of[first] for copy, first in found.copies.items())


def test_a_folder_of_mp3s_made_of_a_folder_of_wavs_is_copies(tmp_path):
    for number in range(3):
        record(tmp_path / "wav" / f"{number}.wav", "hi", seed=number + 1)
        record(tmp_path / "mp3" / f"{number}.mp3", "Hi.", seed=number + 1)
    assert len(look(tmp_path).copies) == 3


def test_the_same_text_in_other_voices_is_no_copy(tmp_path):
    for number in range(30):
        record(tmp_path / f"{number}.wav", "hi")
    assert look(tmp_path).copies == {}


def test_copies_of_copies_are_one_recording(tmp_path):
    record(tmp_path / "a" / "x.wav", "hi", seed=1)
    record(tmp_path / "b" / "y.flac", "hi", seed=1)
    record(tmp_path / "c" / "y.mp3", "hi", seed=1)
    copies = look(tmp_path).copies
    assert set(copies.values()) == {tmp_path / "a" / "x.wav"} and len(copies) == 2
