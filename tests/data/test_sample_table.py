"""Samples in columns of a file: the same as objects in a list, and kept from one start to the next."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.audio.parts import AudioInfo
from deepspeech_training.console import DEBUG, Console
from deepspeech_training.data import samples as samples_module
from deepspeech_training.data.columns import ROWS_AT_ONCE, TEXT, ColumnWriter, open_columns
from deepspeech_training.data.plan import BatchRules, Plan
from deepspeech_training.data.sample import SampleSet
from deepspeech_training.data.sample_list import Chosen, InMemory, Joined, fair_choice
from deepspeech_training.data.samples import check_sets
from deepspeech_training.data.speech_sample import SampleTable, SpeechSample, TableWriter
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.reporting.events import SetSummary

ENGLISH = Alphabet.english()


def sample(number: int, name: str = "train.csv") -> SpeechSample:
    said = "abc"[: 1 + number % 3]
    labels = tuple(ENGLISH.encode(said).tolist())
    speaker = f"speaker {number % 4}" if number % 5 else None
    path, size, length, row = f"/data/{number}.wav", 100 + number % 7, 9 * number + 1, number + 2
    return SpeechSample(f"{name}:{row}", path, size, said, labels, length, speaker, row, "/data/train.csv")


def table_of(samples: list[SpeechSample], path: Path | None = None) -> SampleTable:
    with TableWriter() as writer:
        for one in samples:
            writer.add(one, Path(one.path).name, AudioInfo(one.num_samples, 16000, 1), one.size, 5)
        said = {"key": "", "shards": {}, "singles": len(samples)}
        return writer.finish("/data/train.csv", ENGLISH, path=path, said=said, num_files=len(samples))


@pytest.mark.parametrize("rows", [0, 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
def test_columns_hold_what_they_were_given(rows, tmp_path):
    texts = [b"", "é\n".encode(), b"\0" * 3]
    writer = ColumnWriter({"text": TEXT, "number": "<i8"})
    for row in range(rows):
        writer.add((texts[row % 3] + b"%d" % row, row - 5))
    columns = writer.finish({"what": "é"}, tmp_path / "columns")
    writer.close()
    for one in (columns, open_columns(tmp_path / "columns")):
        assert one.said == {"what": "é"} and one.array("number").tolist() == [row - 5 for row in range(rows)]
        wanted = [texts[row % 3] + b"%d" % row for row in range(rows)]
        assert list(one.texts("text")) == wanted and b"".join(one.chunks("text")) == b"".join(wanted)
        assert all(one.text("text", row) == wanted[row] for row in {0, rows // 2, rows - 1} if rows)


@pytest.mark.parametrize(
    "damage",
    [lambda d: d[:-70], lambda d: d[:100], lambda d: d[:200] + b"!" + d[201:], lambda d: b"1 []\n", lambda d: b""],
)
def test_damaged_columns_are_refused(damage, tmp_path):
    path = tmp_path / "columns"
    table_of([sample(number) for number in range(50)], path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError):
        open_columns(path)


def test_a_table_is_the_list_of_its_samples():
    samples = [sample(number) for number in range(40)]
    table = table_of(samples)
    assert table == samples and table[-1] == samples[-1] and table[3:7] == samples[3:7] and len(table) == 40
    plain = InMemory(samples)
    joined = Joined([table_of(samples[:15]), InMemory([]), table_of(samples[15:])])
    for one in (table, joined, Chosen(plain, range(40))):
        assert list(one) == samples and one[17] == samples[17] and list(one.ids()) == [s.id for s in samples]
        assert one.costs.tolist() == [s.cost for s in samples] and one.sizes.tolist() == [s.size for s in samples]
        assert b"".join(one.lines()) == b"".join(plain.lines()) and one.describe() == plain.describe()
        assert one.with_ids({"train.csv:9", "train.csv:3", "dev.csv:4"}) == [samples[1], samples[7]]
        assert fair_choice(one, 7, seed=3) == fair_choice(samples, 7, seed=3)
        assert SetSummary.of("train", SampleSet("a", "a", one), 16000) == SetSummary.of(
            "train", SampleSet("a", "a", samples), 16000
        )
        for rules in (BatchRules(batch_size=3), BatchRules(batch_seconds=0.05, unit=16000)):
            mine, theirs = Plan(one, rules), Plan(samples, rules)
            assert mine.fingerprint() == theirs.fingerprint() and mine.batches(2) == theirs.batches(2)
    with pytest.raises(IndexError):
        table[40]
    some = Chosen(table, [3, 5, 30])
    assert list(some) == [samples[3], samples[5], samples[30]] and some.costs.tolist() == [28, 46, 271]


@pytest.fixture
def check(corpus, tmp_path, monkeypatch):
    """A function that checks a CSV of four clips, whose table is kept, and dev.csv; gives the result and the log."""
    monkeypatch.setattr(samples_module, "ROWS_KEPT", 3)
    train = corpus(["a", "b", "c", "d"], speakers=["x", "y", "x", ""])
    dev = corpus(["a"], name="dev.csv", speakers=["x"])

    def run(**options):
        stream = io.StringIO()
        defaults = {
            "alphabet": ENGLISH,
            "geometry": FeatureGeometry(),
            "on_bad_row": "fail",
            "cache_dir": tmp_path / "cache",
            "console": Console(level=DEBUG, stream=stream),
            "alphabet_name": "English",
        }
        return check_sets({"train": [train], "dev": [dev]}, **(defaults | options)), stream.getvalue()

    return run


@pytest.fixture
def rows_read(monkeypatch) -> list[str]:
    """The CSVs that are read."""
    read: list[str] = []
    original = samples_module.rows_of
    monkeypatch.setattr(samples_module, "rows_of", lambda path: read.append(Path(path).name) or original(path))
    return read


def test_a_second_start_reads_no_csv_whose_table_was_kept(check, rows_read):
    first, _ = check()
    second, _ = check()
    assert rows_read == ["train.csv", "dev.csv", "dev.csv"]
    assert second.sets == first.sets and second.warnings == first.warnings and second.from_cache == 5
    assert any("speaker also in train" in line for line in second.warnings)
    assert any("under another name" in line for line in second.warnings)  # all clips are the same tone


def test_what_has_changed_is_checked_again(check, rows_read, corpus, make_wav, tmp_path):
    def reads(**options) -> bool:
        rows_read.clear()
        check(**options)
        return "train.csv" in rows_read

    assert reads() and not reads()
    make_wav(tmp_path / "train_wavs" / "2.wav", 2.0)
    assert reads() and not reads()
    assert reads(alphabet=Alphabet("abcde")) and reads() and reads(geometry=replace(FeatureGeometry(), win_step_ms=10))
    assert reads(stride=2) and not reads(stride=2) and reads()
    path = tmp_path / "train.csv"
    path.write_text(path.read_text().replace(",d,", ",dd,"))
    assert reads() and [s.transcript for s in check()[0].sets["train"][0].samples] == ["a", "b", "c", "dd"]
    os.remove(tmp_path / "train_wavs" / "0.wav")
    with pytest.raises(Exception, match="row 2: the file does not exist"):
        check()


def test_a_damaged_table_is_not_used_and_one_that_cannot_be_kept_is_a_warning(check, rows_read, tmp_path):
    check()
    (kept,) = (tmp_path / "cache").glob("*.columns")
    sound = kept.read_bytes()
    kept.write_bytes(sound[:-70] + bytes(70))
    _, said = check()
    assert f"D {kept}: not used" in said and kept.read_bytes() == sound
    (tmp_path / "file").write_text("")
    checked, said = check(cache_dir=tmp_path / "file" / "cache")
    assert "W The checked rows cannot be kept" in said and len(checked.sets["train"][0].samples) == 4


def test_a_table_of_rows_that_were_left_out_is_not_kept(check, tmp_path):
    with open(tmp_path / "train.csv", "a", newline="") as file:
        csv.writer(file).writerow(["none.wav", 1, "a", ""])
    checked, _ = check(on_bad_row="drop")
    assert len(checked.rejected) == 1 and not list((tmp_path / "cache").glob("*.columns"))
    np.testing.assert_array_equal(checked.sets["train"][0].samples.costs, [16000] * 4)
