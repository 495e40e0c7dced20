import csv
import dataclasses
import io
import json
import os
import unicodedata

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.console import DEBUG, Console
from deepspeech_training.data import headers as headers_module
from deepspeech_training.data.rows import read_rows
from deepspeech_training.data.sample import REASON_CODES, Rejection, labels_with_repeats, write_rejections
from deepspeech_training.data.sample_list import limit_fairly
from deepspeech_training.data.samples import HOW_TO_MEND, check_sets
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry


def check(csvs, *, alphabet=None, **options):
    """`check_sets` with what most tests take; a single path is the training set."""
    defaults = {
        "alphabet": alphabet or Alphabet.english(),
        "geometry": FeatureGeometry(),
        "on_bad_row": "fail",
        "cache_dir": None,
        "console": Console(stream=io.StringIO()),
        "alphabet_name": "data/alphabet.txt",
    }
    return check_sets(csvs if isinstance(csvs, dict) else {"train": [csvs]}, **(defaults | options))


def train_samples(checked) -> list[SpeechSample]:
    return [sample for sample_set in checked.sets["train"] for sample in sample_set.samples]


@pytest.fixture
def write_csv(tmp_path):
    def write(contents: bytes | str, name="train.csv") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode("utf-8"))
        return str(path)

    return write


HEADER = "wav_filename,wav_filesize,transcript\n"


# Reading a CSV


@given(
    st.lists(st.tuples(st.text(min_size=1), st.integers(0, 10**12), st.text()), min_size=1),
    # Python 3.11 leaves a lone \r unquoted if the line ends are \n.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    st.booleans(),
)
def test_every_row_that_the_csv_module_writes_is_read_back(tmp_path_factory, rows, style, byte_order_mark):
    line_end, quoting = style
    rows = [[field.replace("\0", "") if isinstance(field, str) else field for field in row] for row in rows]
    rows = [(name or "x", size, transcript) for name, size, transcript in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end, quoting=quoting)
    writer.writerow(["wav_filename", "wav_filesize", "transcript"])
    starts = []
    for row in rows:
        starts.append(len(list(io.StringIO(text.getvalue(), newline=""))) + 1)
        writer.writerow(row)
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    path.write_bytes(text.getvalue().encode("utf-8-sig" if byte_order_mark else "utf-8", "replace"))
    read = read_rows(path)
    replaced = [[f.encode("utf-8", "replace").decode() if isinstance(f, str) else f for f in row] for row in rows]
    assert [row.fault for row in read] == [None] * len(rows)
    assert [[row.wav_filename, row.wav_filesize] for row in read] == [row[:2] for row in replaced]
    assert [row.transcript for row in read] == [unicodedata.normalize("NFC", row[2]) for row in replaced]
    assert [row.row for row in read] == starts


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_user_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    path.write_bytes(HEADER.encode() + data)
    try:
        rows = read_rows(path)
    except UserError as error:
        assert "not UTF-8" in str(error)
    else:
        assert all(isinstance(row.row, int) and row.row >= 2 for row in rows)
        assert [row.row for row in rows] == sorted({row.row for row in rows})


def test_columns_are_found_by_name_and_others_are_left_alone(write_csv):
    path = write_csv("speaker,transcript,wav_filename,age\nanna,hello,a.wav,20\n,hi,b.wav,\n")
    first, second = read_rows(path)
    assert (first.wav_filename, first.transcript, first.speaker, first.wav_filesize) == ("a.wav", "hello", "anna", 0)
    assert (second.speaker, second.row) == (None, 3)


def test_a_row_is_numbered_by_its_first_line_as_in_an_editor(write_csv):
    path = write_csv(HEADER + 'a.wav,1,"two\nlines"\n\nb.wav,1,b\r\nc.wav,1,"c\r\nc"\rd.wav,1,d')
    assert [row.row for row in read_rows(path)] == [2, 5, 6, 8]


def test_spaces_at_the_ends_of_a_transcript_stay(write_csv):
    assert read_rows(write_csv(HEADER + "a.wav,1, a b \n"))[0].transcript == " a b "


def test_transcripts_are_composed_and_paths_are_not(write_csv):
    (row,) = read_rows(write_csv(HEADER + "e\u0301.wav,1,cafe\u0301\n"))
    assert (row.wav_filename, row.transcript) == ("e\u0301.wav", "café")


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (b"", "the CSV is empty"),
        (b"\n\n", "the CSV is empty"),
        (b"wav_filename;wav_filesize;transcript\n", 'no column wav_filename and no column transcript\n  found  "wav_f'),
        (b"wav_filename,text\n", 'row 1: no column transcript\n  found  "wav_filename,text"'),
        (b"wav_filename,transcript,transcript\n", "the column transcript is there twice"),
        (HEADER.encode() + b"a.wav,1,a\nb.wav,1,\xe9\n", "row 3: byte 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbf" + HEADER.encode() + "é.wav,1,é".encode() + b"\xe8\n", "row 2: byte 0xe8 is not UTF-8"),
        (b'wav_filename,"transcript\na.wav,a\n', "row 1: its quotes do not match"),
        (HEADER.encode("utf-16-le"), "row 1: no column wav_filename"),
    ],
)
def test_an_unusable_csv_says_what_was_found(write_csv, contents, expected):
    with pytest.raises(UserError) as caught:
        read_rows(write_csv(contents))
    assert expected in str(caught.value)


def test_a_missing_csv_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot read the CSV: No such file"):
        read_rows(tmp_path / "train.csv")


def test_a_quote_that_never_closes_costs_only_its_own_row(write_csv):
    rows = read_rows(write_csv(HEADER + 'a.wav,1,a\nb.wav,1,"b\nc.wav,1,c\nd.wav,1,"d" d\ne.wav,1,e\n'))
    assert [(row.row, row.wav_filename, bool(row.fault)) for row in rows] == [
        (2, "a.wav", False),
        (3, "", True),
        (4, "c.wav", False),
        (5, "", True),
        (6, "e.wav", False),
    ]


def test_a_huge_field_is_a_fault_and_the_limit_of_the_csv_module_is_put_back(write_csv):
    limit = csv.field_size_limit()
    long = "a" * 200_000
    rows = read_rows(write_csv(HEADER + f"a.wav,1,{long}\nb.wav,1,{long * 6}\nc.wav,1,c\n"))
    assert [bool(row.fault) for row in rows] == [False, True, False]
    assert csv.field_size_limit() == limit


# Checking rows


@pytest.fixture
def all_faults(tmp_path, make_wav, write_csv):
    """A CSV with every fault at once, and the expected (row, reason code) of each."""
    make_wav(tmp_path / "good.wav", 1.0)
    make_wav(tmp_path / "short.wav", 0.1)
    make_wav(tmp_path / "none.wav", 0.0)
    (tmp_path / "text.wav").write_bytes(b"this is not audio")
    whole = (tmp_path / "good.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    lines = [
        ("good.wav,32044,a good row", None),
        ("absent.wav,32044,nothing there", "missing_file"),
        ("text.wav,17,text instead of audio", "unreadable"),
        ("cut.wav,32044,half a clip", "unreadable"),
        ("none.wav,44,no samples", "empty_audio"),
        ("good.wav,32044,", "empty_transcript"),
        ("good.wav,32044,  ", "empty_transcript"),
        ("good.wav,32044,café 3", "not_in_alphabet"),
        ('good.wav,32044,"two\nlines"', "not_in_alphabet"),
        ("short.wav,3244,too much text", "too_short"),
        ("good.wav,32044,a comma, unquoted", "bad_row"),
        ("good.wav", "bad_row"),
        ("good.wav,many,a good text", "bad_row"),
        (",32044,no file name", "bad_row"),
        ("good\0.wav,32044,a zero byte", "bad_row"),
        ('good.wav,32044,"a quote" too many', "bad_row"),
        ("good.wav,0,another good row", None),
    ]
    text, expected, number = HEADER, [], 2
    for line, code in lines:
        text += line + "\n"
        if code:
            expected.append((number, code))
        number += line.count("\n") + 1
    return write_csv("\ufeff" + text.replace("\n", "\r\n")), expected


def test_the_report_names_every_fault_with_file_and_row(all_faults):
    path, expected = all_faults
    with pytest.raises(UserError) as caught:
        check(path)
    report = str(caught.value)
    assert {code for _, code in expected} == set(REASON_CODES) == set(HOW_TO_MEND)
    for row, code in expected:
        assert f"{path}, row {row}: " in report
        assert report.count(HOW_TO_MEND[code]) == 1
    assert report.count(", row ") == len(expected)
    folder = os.path.dirname(path)
    assert (
        f"{path}, row 9: the transcript has characters that are not in the alphabet: 'é' '3'\n"
        f'  file        "{folder}/good.wav"\n'
        '  transcript  "café 3"\n'
        "  alphabet    data/alphabet.txt (28 characters)\n"
        "Correct the transcript, or add the characters to the alphabet (its size changes, so training starts over).\n"
    ) in report
    assert r"""not in the alphabet: '\r' '\n'""" in report and r'transcript  "two\r\nlines"' in report
    assert "4 frames (0.10 s) for 13 labels and 1 repeats, which need 14 frames (0.29 s)" in report
    assert "promises 1.00 s, the file holds 0.50 s" in report
    assert f"{len(expected)} of 17 rows have faults: 6 bad_row, 1 missing_file, 2 unreadable" in report
    assert "--on_bad_row drop" in report


def test_dropping_keeps_the_good_rows_and_lists_the_others(all_faults):
    path, expected = all_faults
    checked = check(path, on_bad_row="drop")
    assert [(fault.row, fault.reason_code) for fault in checked.rejected] == expected
    assert {fault.csv_path for fault in checked.rejected} == {path}
    good = train_samples(checked)
    assert [(sample.id, sample.size) for sample in good] == [("train.csv:2", 32044), ("train.csv:19", 32044)]


def test_a_sample_has_all_that_the_loader_needs(corpus):
    path = corpus(["hello", "a b"], speakers=["anna", ""])
    (sample_set,) = check(path).sets["train"]
    assert (sample_set.csv_path, sample_set.name) == (path, "train.csv")
    first, second = sample_set.samples
    assert first == SpeechSample(
        "train.csv:2",
        os.path.join(os.path.dirname(path), "train_wavs/0.wav"),
        32044,
        "hello",
        tuple(Alphabet.english().encode("hello").tolist()),
        16000,
        "anna",
        2,
        path,
    )
    assert second.speaker is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.size = 1


def test_only_the_first_20_faults_are_shown_and_the_others_counted(write_csv):
    path = write_csv(HEADER + "".join(f"{number}.wav,1,a\n" for number in range(123)))
    with pytest.raises(UserError) as caught:
        check(path)
    report = str(caught.value)
    assert report.count(", row ") == 20
    assert "... and 103 more rows with faults.\n123 of 123 rows have faults: 123 missing_file\n" in report


def test_capitals_that_would_fit_in_lower_case_are_pointed_out(corpus):
    with pytest.raises(UserError, match=r"not in the alphabet: 'H' 'I' \(in lower case all of them are\)"):
        check(corpus(["HI I"]))


def test_a_combining_mark_is_shown_by_its_number(corpus):
    with pytest.raises(UserError, match=r"not in the alphabet: U\+0303"):
        check(corpus(["x\u0303"]))


@pytest.mark.parametrize(("seconds", "fits"), [(0.032 + 5 * 0.020, True), (0.032 + 5 * 0.020 - 1 / 16000, False)])
def test_a_clip_needs_a_frame_for_each_label_and_each_repeat(corpus, seconds, fits):
    path = corpus(["hello"], seconds=seconds)  # 5 labels and the pair "ll"
    if fits:
        assert len(train_samples(check(path))) == 1
    else:
        with pytest.raises(UserError, match=r"5 frames \(0.13 s\) for 5 labels and 1 repeats, which need 6 frames"):
            check(path)


def test_labels_with_repeats():
    assert [labels_with_repeats(labels) for labels in ([], [1], [1, 1], [1, 2, 1], [1, 1, 1, 2, 2])] == [0, 1, 3, 3, 8]


@pytest.mark.parametrize("on_bad_row", ["fail", "drop"])
def test_a_csv_without_rows_is_an_error(write_csv, on_bad_row):
    with pytest.raises(UserError, match="a header and no rows"):
        check(write_csv(HEADER), on_bad_row=on_bad_row)


def test_a_csv_of_which_nothing_is_left_is_an_error(write_csv, corpus):
    bad = write_csv(HEADER + "x.wav,1,a\ny.wav,1,\n", name="bad.csv")
    with pytest.raises(UserError, match=r"bad.csv: no row is left of 2 \(2 missing_file\)"):
        check({"train": [corpus(["a"])], "dev": [bad]}, on_bad_row="drop")


def test_sets_and_csvs_keep_their_order_and_short_names_tell_them_apart(corpus):
    paths = [corpus(["a"], name=name) for name in ("one/train.csv", "two/train.csv", "other.csv")]
    checked = check({"train": paths, "dev": [paths[2]], "test": []})
    assert list(checked.sets) == ["train", "dev", "test"]
    assert [part.name for part in checked.sets["train"]] == ["one/train.csv", "two/train.csv", "other.csv"]
    assert [part.samples[0].id for part in checked.sets["train"]] == [
        "one/train.csv:2",
        "two/train.csv:2",
        "other.csv:2",
    ]
    assert checked.sets["test"] == []


def test_write_rejections_can_be_read_back(tmp_path):
    rejections = [
        Rejection("a.csv", 3, "x,y.wav", 'say "hi"\nnow', "not_in_alphabet", "it has 'é'"),
        Rejection("b.csv", 4, "", "a\rb", "bad_row", "why"),
    ]
    path = tmp_path / "rejected.csv"
    path.write_text("old")
    write_rejections(path, rejections)
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["csv", "row", "wav_filename", "transcript", "reason_code", "reason"]
    assert rows == [[str(value) for value in dataclasses.astuple(rejection)] for rejection in rejections]
    assert os.listdir(tmp_path) == ["rejected.csv"]
    with pytest.raises(UserError, match=r"rejected\.csv cannot be written"):
        write_rejections(tmp_path / "absent" / "rejected.csv", rejections)


def test_low_rates_are_told_when_most_training_clips_have_them(make_wav, write_csv, tmp_path):
    for number, rate in enumerate((8000, 8000, 16000)):
        make_wav(tmp_path / f"{number}.wav", 1.0, rate)
    low = write_csv("wav_filename,transcript\n0.wav,a\n1.wav,b\n2.wav,c\n")
    half = write_csv("wav_filename,transcript\n0.wav,a\n2.wav,c\n", "half.csv")
    (warning,) = check(low).warnings
    assert warning.startswith("train: 2 of 3 clips are sampled at 8,000 Hz") and "--audio_sample_rate 8000" in warning
    assert check(low, geometry=FeatureGeometry(sample_rate=8000)).warnings == []
    assert check(half).warnings == [] and check({"dev": [low]}).warnings == []


def test_a_recording_under_another_name_in_two_sets_is_told(tmp_path, write_csv):
    for name, seed in (("a.wav", 1), ("b.flac", 1), ("c.wav", 2), ("d.wav", 2), ("e.wav", 3), ("f.wav", 4)):
        soundfile.write(tmp_path / name, np.random.default_rng(seed).normal(0, 0.1, 16000), 16000, subtype="PCM_16")
    train = write_csv("wav_filename,transcript\na.wav,hi\nc.wav,hi\n", "train.csv")
    dev = write_csv("wav_filename,transcript\nb.flac,hi\ne.wav,hi\n", "dev.csv")
    test = write_csv("wav_filename,transcript\nd.wav,hi\nf.wav,hi\n", "test.csv")
    says = "its error rate says little about new speech"
    assert check({"train": [train], "dev": [dev], "test": [test]}).warnings == [
        f"dev: 1 row with a recording that is in train under another name, such as dev.csv:2 and train.csv:2: {says}",
        f"test: 1 row with a recording that is in train under another name, such as test.csv:2 and train.csv:3: {says}",
    ]


def test_warnings_count_what_is_in_two_places(corpus, write_csv):
    train = corpus(["a", "b", "c"], speakers=["anna", "boris", ""])
    dev = write_csv(
        "wav_filename,transcript,speaker\ntrain_wavs/0.wav,a,anna\ntrain_wavs/0.wav,a,anna\ntrain_wavs/1.wav,b,\n",
        "dev.csv",
    )
    test = corpus(["d"], name="test.csv", speakers=["carla"])
    warnings = check({"train": [train], "dev": [dev], "test": [test]}).warnings
    assert warnings == [
        "dev: 1 row with a file that an earlier row of the set has, such as dev.csv:3 and dev.csv:2",
        "dev: 3 rows with a file that is also in train, such as dev.csv:2 and train.csv:2: "
        "its error rate says little about new speech",
        'dev: 1 speaker also in train, such as "anna": its error rate says little about new speakers',
    ]
    assert check({"train": [train], "test": [test]}).warnings == []
    assert "train: 3 rows with a file" in check({"train": [train, train]}).warnings[0]


# The cache of headers


def test_a_second_start_reads_no_header_again_but_those_that_changed(tmp_path, corpus, make_wav, monkeypatch):
    path = corpus(["a", "b", "c"])
    cache_dir = tmp_path / "cache"
    first = check(path, cache_dir=cache_dir)
    assert first.from_cache == 0
    read = []
    original = headers_module.read_audio_info
    monkeypatch.setattr(headers_module, "read_audio_info", lambda path: read.append(path) or original(path))
    second = check(path, cache_dir=cache_dir)
    assert (second.from_cache, read) == (3, [])
    assert second.sets == first.sets
    changed = make_wav(tmp_path / "train_wavs" / "1.wav", 2.0)
    third = check(path, cache_dir=cache_dir)
    assert (third.from_cache, read) == (2, [changed])
    assert [sample.num_samples for sample in train_samples(third)] == [16000, 32000, 16000]
    assert check(path, cache_dir=cache_dir).from_cache == 3


def test_the_cache_never_hides_a_fault(tmp_path, corpus):
    path = corpus(["abc", "b"])
    cache_dir = tmp_path / "cache"
    check(path, cache_dir=cache_dir)
    with pytest.raises(UserError, match="not in the alphabet: 'c'"):
        check(path, cache_dir=cache_dir, alphabet=Alphabet("ab"))
    with pytest.raises(UserError, match="too short"):
        check(path, cache_dir=cache_dir, geometry=FeatureGeometry(win_step_ms=500))
    os.remove(tmp_path / "train_wavs" / "1.wav")
    with pytest.raises(UserError, match="row 3: the file does not exist"):
        check(path, cache_dir=cache_dir)


def test_faults_do_not_keep_good_headers_out_of_the_cache(tmp_path, all_faults):
    path, _ = all_faults
    with pytest.raises(UserError):
        check(path, cache_dir=tmp_path / "cache")
    assert check(path, cache_dir=tmp_path / "cache", on_bad_row="drop").from_cache == 2  # good.wav and short.wav


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda data: data.replace(b"16000, 1]", b"16001, 1]", 1),
        lambda data: b"",
        lambda data: b"\xff\x00" + data,
        lambda data: b"[" * 100_000,
        lambda data: b"null\n" + data,
        lambda data: data.replace(b"headers 2", b"headers 1"),
    ],
)
def test_a_damaged_cache_is_ignored_and_made_anew(tmp_path, corpus, damage):
    path = corpus(["a", "b"])
    check(path, cache_dir=tmp_path / "cache")
    (cache_path,) = (tmp_path / "cache").iterdir()
    good = cache_path.read_bytes()
    cache_path.write_bytes(damage(good))
    stream = io.StringIO()
    checked = check(path, cache_dir=tmp_path / "cache", console=Console(level=DEBUG, stream=stream))
    assert checked.from_cache == 0 and len(train_samples(checked)) == 2
    assert f"D {cache_path}: not used" in stream.getvalue()
    assert cache_path.read_bytes() == good
    assert check(path, cache_dir=tmp_path / "cache").from_cache == 2


@pytest.mark.parametrize(
    "line",
    [
        ["train_wavs/0.wav", 1, 1, -5, 16000, 1],
        ["train_wavs/0.wav", 1, 1, 1, 0, 1],
        ["train_wavs/0.wav", 1, 1, True, 16000, 1],
        [1, 1, 1, 1, 1, 1],
        ["train_wavs/0.wav"],
        {"a": 1},
    ],
)
def test_a_cache_with_a_right_checksum_and_wrong_values_is_ignored(tmp_path, corpus, line):
    path = corpus(["a"])
    check(path, cache_dir=tmp_path / "cache")
    (cache_path,) = (tmp_path / "cache").iterdir()
    body = json.dumps(line).encode() + b"\n"
    first = {"format": headers_module.CACHE_FORMAT, "sha256": headers_module.hashlib.sha256(body).hexdigest()}
    cache_path.write_bytes(json.dumps(first).encode() + b"\n" + body)
    assert check(path, cache_dir=tmp_path / "cache").from_cache == 0


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, corpus):
    (tmp_path / "file").write_text("")
    stream = io.StringIO()
    checked = check(corpus(["a"]), cache_dir=tmp_path / "file" / "cache", console=Console(stream=stream))
    assert len(train_samples(checked)) == 1
    assert "W " in stream.getvalue() and "cannot be kept for the next start" in stream.getvalue()


def test_the_cache_names_files_relative_to_the_csv(tmp_path, corpus):
    path = corpus(["a"], name="volume/train.csv")
    check(path, cache_dir=tmp_path / "cache")
    (cache_path,) = (tmp_path / "cache").iterdir()
    assert str(tmp_path) not in cache_path.read_text().splitlines()[1]


def test_the_second_check_of_many_rows_opens_no_audio_file(tmp_path, make_wav, write_csv, monkeypatch):
    with open(make_wav(tmp_path / "wavs" / "0.wav", 0.2), "rb") as file:
        data = file.read()
    for number in range(1, 1000):
        (tmp_path / "wavs" / f"{number}.wav").write_bytes(data)
    path = write_csv(HEADER + "".join(f"wavs/{number}.wav,{len(data)},abc\n" for number in range(1000)))
    first = check(path, cache_dir=tmp_path / "cache")

    def opened(path):
        raise AssertionError(f"{path} was opened again")

    monkeypatch.setattr(headers_module, "read_audio_info", opened)
    second = check(path, cache_dir=tmp_path / "cache")
    assert second.from_cache == 1000 and second.sets == first.sets


# Taking a part


@pytest.fixture
def many() -> list[SpeechSample]:
    return [SpeechSample(f"train.csv:{row}", "", row, "a", (1,), 1, None, row, "train.csv") for row in range(2, 1002)]


def test_a_limit_takes_a_fair_part_in_the_original_order(many):
    part = limit_fairly(many, 100, seed=1)
    assert len(part) == 100 and part == sorted(part, key=lambda sample: sample.row)
    assert 400 < sum(sample.row for sample in part) / 100 < 600  # neither the shortest nor the longest
    assert part == limit_fairly(many, 100, seed=1) != limit_fairly(many, 100, seed=2)
    assert set(limit_fairly(many, 50, seed=1)) < set(part)
    assert set(limit_fairly(many[::-1], 100, seed=1)) == set(part)


def test_the_choice_stays_the_same_from_release_to_release(many):
    assert [sample.row for sample in limit_fairly(many, 5, seed=4568)] == [68, 663, 738, 816, 984]


def test_no_limit_takes_all(many):
    assert limit_fairly(many, 0, seed=1) == limit_fairly(many, 5000, seed=1) == many
    with pytest.raises(ValueError):
        limit_fairly(many, -1, seed=1)


# Real corpora


@pytest.mark.parametrize(
    "name", ["ldc93s1", "ldc93s1_flac", "ldc93s1_ogg", "ldc93s1_opus", "ldc93s1_formats", "new-home"]
)
def test_the_smoke_test_csvs_have_no_fault(test_data, name):
    path = str(test_data / "ldc93s1" / f"{name}.csv")
    for sample in train_samples(check(path)):
        assert sample.size == os.path.getsize(sample.path)
        if name != "new-home":
            assert abs(sample.num_samples - 46797) <= 1
            assert len(sample.labels) == 52


@pytest.mark.parametrize("name", ["ru.csv", "ru_sized.csv"])
def test_the_russian_sample_has_no_fault(test_data, name):
    folder = test_data / "ldc93s1" / "russian_sample_data"
    (sample,) = train_samples(check(str(folder / name), alphabet=Alphabet.read(folder / "alphabet.ru")))
    assert sample.size == os.path.getsize(sample.path)  # ru.csv has 0 there
    assert sample.num_samples == 90664


def test_the_spoken_digits_are_checked_with_their_speakers_apart(test_data):
    checked = check(
        {"train": [str(test_data / "fsdd" / "train.csv")], "dev": [str(test_data / "fsdd" / "dev.csv")]},
        on_bad_row="drop",
    )
    assert len(checked.sets["train"][0].samples) + len(checked.sets["dev"][0].samples) > 2400
    assert {fault.reason_code for fault in checked.rejected} <= {"too_short"}
    assert checked.warnings == [
        "train: 2,000 of 2,000 clips are sampled at 8,000 Hz or less, and the model works at 16,000 Hz: "
        "a new model with --audio_sample_rate 8000 learns more from them (docs/data.md)"
    ]


def test_the_arabic_commands_are_checked_with_their_alphabet(test_data):
    folder = test_data / "commands"
    checked = check(
        {"train": [str(folder / "train.csv")], "dev": [str(folder / "dev.csv")]},
        alphabet=Alphabet.read(folder / "alphabet.txt"),
    )
    assert checked.warnings == []
    sample = train_samples(checked)[0]
    assert sample.speaker == "00000001" and sample.transcript == "إغلاق"
