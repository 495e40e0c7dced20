"""The report: numbers that add up, a page that is whole and cannot be taken over by a transcript."""

import html.parser
import re

import pytest
from test_import_corpus import imported, read  # noqa: F401  (a fixture)

from deepspeech_training.importers import report as importer_report
from deepspeech_training.importers.ledger import Ledger
from deepspeech_training.importers.report_page import page

HOSTILE = "<script>alert(1)</script>\"'&"


class Page(html.parser.HTMLParser):
    """Checks that tags close in order and collects what could run or be fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def report(imported):  # noqa: F811
    rows = [(f"{n}.wav", f"hello number {'abcdefghij'[n % 10]}", "", f"s{n % 5}") for n in range(20)]
    rows += [("x y#.wav", f"say {HOSTILE}", "", "<b>s9</b>"), ("20.wav", "", "", "s1"), ("missing.wav", "gone", "", "")]
    rules = {"validator": lambda text: text}
    from deepspeech_training.importers.transcripts import TranscriptRules

    return imported(rows, rules=TranscriptRules(**rules), seconds=1.5)


def test_the_numbers_add_up(report):
    out, numbers, _ = report
    assert (
        numbers["total"]["clips"] == 21 == sum(numbers["lengths"]["histogram"]) == sum(numbers["levels"]["histogram"])
    )
    assert numbers["total"]["hours"] == round(21 * 1.5 / 3600, 4)
    assert sum(numbers["sets"][f"{part}.csv"]["clips"] for part in ("train", "dev", "test")) == 21
    assert numbers["total"]["rows"] == 23 and numbers["total"]["rows_rejected"] == 2 == len(read(out / "rejected.csv"))
    assert sum(numbers["characters"].values()) == numbers["total"]["characters"]
    assert numbers["lengths"]["quantiles"]["median"] == 1.5
    assert numbers["cuts"][0] == {"max_seconds": 5, "clips": 0, "hours": 0.0}
    assert sum(speaker["clips"] for speaker in numbers["speakers"]) == 21
    assert len(numbers["clips"]["Longest"]) == 12


def test_the_page_is_whole_and_nothing_in_it_runs(report):
    out, numbers, _ = report
    text = (out / "report.html").read_text(encoding="utf-8")
    parsed = Page(text)
    assert text == page(numbers)
    assert "script" not in parsed.tags and "<b>s9" not in text
    assert "&lt;script&gt;" in text and "default-src 'none'" in text
    assert {source for source in parsed.sources if not source.startswith("clips/")} == set()
    assert "clips/x%20y%23.wav" in parsed.sources
    for svg in re.findall(r"<svg.*?</svg>", text):
        assert "NaN" not in svg and "inf" not in svg


def test_a_corpus_without_speakers_or_faults_has_a_page_too(imported):  # noqa: F811
    out, _, _ = imported([(f"{n}.wav", "a", "", "") for n in range(3)])
    text = (out / "report.html").read_text(encoding="utf-8")
    Page(text)
    assert "names no speakers" in text and "every row of the corpus is in a CSV" in text


@pytest.mark.parametrize(
    ("most", "names"), [(3, ["all.csv", "a/b/1.txt", "a/c/2.txt"]), (2, ["all.csv", "a/*"]), (1, ["*"])]
)
def test_a_corpus_of_very_many_files_is_counted_by_folder(most, names, tmp_path, monkeypatch):
    monkeypatch.setattr(importer_report, "MOST_SOURCES", most)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        sources = ("all.csv", "a/b/1.txt", "a/c/2.txt")
        codes = ("", "", "missing_file")
        ledger.replace_rows(
            (source, 1, "", None, "", "", "", "", code, "", "") for source, code in zip(sources, codes, strict=True)
        )
        counts = importer_report._sources(ledger)
    assert list(counts) == names
    assert sum(count["rows"] for count in counts.values()) == 3
    assert sum(count["kept"] + sum(count["rejected"].values()) for count in counts.values()) == 3
