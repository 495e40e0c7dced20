"""Common Voice: every header that is known, the real delta release, archives, and a kill."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from test_import_corpus import files, read

from deepspeech_training.commands.main import run as command
from deepspeech_training.data.rows import read_rows

ROOT = Path(__file__).resolve().parents[2]
# github.com/common-voice/cv-dataset: the columns of train, dev, test, validated and other by release.
HEADERS = {
    "1 to 4": "client_id path sentence up_votes down_votes age gender accent",
    "5 to 7": "client_id path sentence up_votes down_votes age gender accent locale segment",
    "8 to 12": "client_id path sentence up_votes down_votes age gender accents locale segment",
    "13 to 16": "client_id path sentence up_votes down_votes age gender accents variant locale segment",
    "17 on": "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale"
    + " segment",
}
SPONTANEOUS = (
    "client_id audio_id audio_file duration_ms prompt_id prompt transcription votes age gender accents variant language"
    " prompt_upvotes prompt_reports is_edited split char_per_sec quality_tags"
)


@pytest.fixture
def release(test_data):
    return test_data / "commonvoice" / "cv-corpus-13.0-delta-2023-03-09" / "en"


def make_release(
    folder: Path, header: str, make_wav, *, sets=("train", "dev", "test", "validated"), clips=True
) -> Path:
    """A release with two clips of one speaker in each set; the clips are WAV inside, as libsndfile does not mind."""
    columns = header.split()
    folder.mkdir(parents=True)
    everything = []
    for place, set_name in enumerate(("train", "dev", "test")):
        for number in range(2):
            values = dict.fromkeys(columns, "") | {"client_id": f"speaker{place}", "sentence": f'Say "{set_name}"!'}
            values["path"] = f"clip_{set_name}_{number}.mp3"
            everything.append((set_name, values))
            if clips:
                os.rename(make_wav(folder / "x.wav"), _in(folder / "clips" / values["path"]))
    for set_name in (*sets, "invalidated", "other"):
        rows = [values for name, values in everything if set_name == "validated" or name == set_name]
        text = "\t".join(columns) + "".join("\n" + "\t".join(row[column] for column in columns) for row in rows)
        (folder / f"{set_name}.tsv").write_text(text, encoding="utf-8")  # no newline at its end, as some releases
    return folder


def _in(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


@pytest.mark.parametrize("version", HEADERS)
def test_every_header_of_a_release_is_read(version, tmp_path, make_wav, capsys):
    folder = make_release(tmp_path / "cv-corpus" / "en", HEADERS[version], make_wav)
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(tmp_path / "out" / f"{part}.csv") for part in ("train", "dev", "test")]
    for part in ("train", "dev", "test"):
        assert [row["transcript"] for row in read(tmp_path / "out" / f"{part}.csv")] == [f"say {part}"] * 2
    assert len(read(tmp_path / "out" / "validated.csv")) == 6


def test_a_delta_release_without_sets_is_split_by_speaker(tmp_path, make_wav):
    folder = make_release(tmp_path / "en", HEADERS["13 to 16"], make_wav, sets=("validated",))
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    speakers = [
        {row["client_id"] for row in read(tmp_path / "out" / f"{part}.csv")} for part in ("train", "dev", "test")
    ]
    assert sorted(map(len, speakers)) == [1, 1, 1] and len(set.union(*speakers)) == 3


def test_a_corpus_that_moved_keeps_its_clips_and_another_one_replaces_them(tmp_path, make_wav, capsys):
    folder = make_release(tmp_path / "cv" / "en", HEADERS["17 on"], make_wav)

    def run(source) -> tuple[str, dict]:
        assert command("import cv2", [str(source), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
        made = files(tmp_path / "out")
        del made["report.json"], made["report.html"]  # they name the source
        return capsys.readouterr().err, made

    log, made = run(tmp_path / "cv")
    assert "6 to convert, 0 done before" in log and len(list((tmp_path / "out" / "clips").iterdir())) == 6
    log, made_again = run(folder)
    assert "0 to convert, 6 done before" in log and made_again == made
    log, made_again = run(folder.rename(tmp_path / "moved"))
    assert "0 to convert, 6 done before" in log and made_again == made
    other = tmp_path / "other" / "clips"
    other.mkdir(parents=True)
    os.rename(make_wav(tmp_path / "x.wav", 0.7), other / "a.mp3")
    (other.parent / "validated.tsv").write_text("client_id\tpath\tsentence\nann\ta.mp3\thello\n")
    assert "1 to convert" in run(other.parent)[0]
    assert [path.name for path in (tmp_path / "out" / "clips").iterdir()] == ["a.wav"]


def test_a_clip_of_another_length_is_made_again_when_the_corpus_moved(tmp_path, make_wav, capsys):
    folder = make_release(tmp_path / "cv" / "en", HEADERS["17 on"], make_wav)
    assert command("import cv2", [str(tmp_path / "cv"), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    os.rename(make_wav(tmp_path / "x.wav", 2.0), folder / "clips" / "clip_dev_0.mp3")
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert "1 to convert, 5 done before" in capsys.readouterr().err
    assert read(tmp_path / "out" / "dev.csv")[0]["wav_filesize"] == "64044"


def test_several_releases_or_no_folder_are_told_apart(tmp_path, make_wav, capsys):
    for release in ("cv-1", "cv-2"):
        make_release(tmp_path / "in" / release / "en", HEADERS["17 on"], make_wav, clips=False)
    assert command("import cv2", [str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]) == 1
    assert "several releases: cv-1/en, cv-2/en" in capsys.readouterr().err
    assert command("import cv2", [str(tmp_path / "nothing"), "--output_dir", str(tmp_path / "out2")]) == 1
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize("missing", ["path", "sentence"])
def test_a_missing_column_is_named(missing, tmp_path, make_wav, capsys):
    header = HEADERS["17 on"].replace(f" {missing} ", " other ")
    folder = tmp_path / "en"
    folder.mkdir()
    (folder / "train.tsv").write_text(header.replace(" ", "\t") + "\n")
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out")]) == 1
    assert f"train.tsv, row 1: no column {missing}" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["cv-corpus-4-2019-12-10", "cv-corpus-19.0-2024-09-13"])
def test_the_real_headers_without_clips_give_reasons(version, test_data, tmp_path, capsys):
    folder = test_data / "commonvoice" / "headers" / version / "id"
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "no row of the corpus is left" in error and "missing_file" in error and "bad_row" not in error
    # With clips, all rows that the rules take are kept, in whatever shape they are quoted.
    shutil.copytree(folder, tmp_path / "id")
    (tmp_path / "id" / "clips").mkdir()
    clip = min((test_data / "commonvoice" / "cv-corpus-13.0-delta-2023-03-09" / "en" / "clips").glob("*.mp3"))
    for table in (tmp_path / "id").glob("*.tsv"):
        for line in table.read_text(encoding="utf-8").splitlines()[1:]:
            for name in line.split("\t"):
                if name.endswith(".mp3"):
                    shutil.copy(clip, tmp_path / "id" / "clips" / name)
    (tmp_path / "id" / "clip_durations.tsv").unlink(missing_ok=True)
    assert command("import cv2", [str(tmp_path / "id"), "--output_dir", str(tmp_path / "out2"), "--workers", "1"]) == 0
    train = read(tmp_path / "out2" / "train.csv")
    assert len(train) == 8
    if "corpus-4" in version:
        assert train[0]["transcript"] == "cepatlah berangkat ia berujar padaku"


def test_the_real_release_adds_up(release, tmp_path, capsys):
    out = tmp_path / "out"
    assert command("import cv2", [str(release), "--output_dir", str(out)]) == 0
    for set_name in ("train", "dev", "test", "validated"):
        rows = len((release / f"{set_name}.tsv").read_text(encoding="utf-8").splitlines()) - 1
        rejected = [row for row in read(out / "rejected.csv") if row["source"] == f"{set_name}.tsv"]
        assert rows == len(read(out / f"{set_name}.csv")) + len(rejected)
        assert [row.fault for row in read_rows(out / f"{set_name}.csv") if row.fault] == []
    assert [row["reason_code"] for row in read(out / "rejected.csv")] == ["label_refused"] * 2
    samples = sum(int(row["wav_filesize"]) - 44 for row in read(out / "validated.csv")) / 2
    assert samples / 16000 / 3600 == pytest.approx(1.0236, abs=1e-3)


def test_the_main_process_starts_without_numpy_and_http(tmp_path, make_wav):
    folder = make_release(tmp_path / "en", HEADERS["17 on"], make_wav)
    code = """
import sys
from deepspeech_training.commands.main import run
assert run("import cv2", sys.argv[1:]) == 0
print(sorted(set(sys.modules) & {"numpy", "soundfile", "soxr", "tqdm", "urllib.request", "http.client"}))
"""
    command = [sys.executable, "-c", code, str(folder), "--output_dir", str(tmp_path / "out"), "--workers", "2"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1] == "[]"


def test_an_archive_gives_what_its_folder_gives(release, tmp_path):
    names = [line.split("\t")[1] for line in (release / "train.tsv").read_text("utf-8").splitlines()[1:]]
    folder = tmp_path / "cv-corpus-13.0-delta-2023-03-09" / "en"
    (folder / "clips").mkdir(parents=True)
    for name in names[:12]:
        shutil.copy(release / "clips" / name, folder / "clips")
    lines = (release / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "validated.tsv").write_text("".join(lines[:15]), encoding="utf-8")  # two clips are not there
    archive = tmp_path / "cv-corpus-13.0-delta-2023-03-09-en.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "clips", "cv-corpus-13.0-delta-2023-03-09/en/clips")  # the clips first: texts come last
        tar.add(folder / "validated.tsv", "cv-corpus-13.0-delta-2023-03-09/en/validated.tsv")
    out = [tmp_path / name for name in ("a", "b", "c")]
    assert command("import cv2", [str(folder), "--output_dir", str(out[0])]) == 0
    assert command("import cv2", [str(archive), "--output_dir", str(out[1])]) == 0
    assert (
        command(
            "import cv2",
            [
                shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path, folder.parent.name),
                "--output_dir",
                str(out[2]),
            ],
        )
        == 0
    )
    results = [files(folder) for folder in out]
    for result in results:
        for name in ("report.json", "report.html"):
            result.pop(name, None)
        result["rejected.csv"] = result["rejected.csv"].replace(b"cv-corpus-13.0-delta-2023-03-09/en/", b"")
    assert len(results[0]) == 12 + 6
    assert results[0] == results[1] == results[2]
    assert [row["reason_code"] for row in read(out[1] / "rejected.csv")] == ["missing_file"] * 2
    assert not (out[1] / ".import" / "spool").exists()


def test_a_clip_that_is_shorter_than_clip_durations_says_is_refused(tmp_path, make_wav):
    folder = make_release(tmp_path / "en", HEADERS["17 on"], make_wav)
    lengths = [("clip_train_0.mp3", "9000"), ("clip_train_1.mp3", "500"), ("clip_dev_0.mp3", "?"), ("gone.mp3", "1")]
    lines = ["clip\tduration[ms]", *map("\t".join, lengths)]
    (folder / "clip_durations.tsv").write_text("\n".join(lines), encoding="utf-8")
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert [row["wav_filename"] for row in read(tmp_path / "out" / "train.csv")] == ["clips/clip_train_1.wav"]
    (rejected, _) = read(tmp_path / "out" / "rejected.csv")  # of train and of validated
    assert rejected["reason_code"] == "unreadable" and "the corpus promises 9.00 s" in rejected["reason"]


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_rows():
    command = [sys.executable, str(ROOT / "benchmarks" / "format_corpus.py"), "memory", "--rows", "8000,40000"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    few, many = map(json.loads, lines)
    for run in ("first", "second"):
        assert many[f"{run}_peak_mb"] < few[f"{run}_peak_mb"] + 8  # SQLite's cache and sorter, 4 MB each, fill once
        assert many[f"{run}_worker_peak_mb"] < few[f"{run}_worker_peak_mb"] + 8


@pytest.mark.slow
@pytest.mark.parametrize("as_archive", [False, True])
def test_killed_at_any_moment_and_run_again_ends_the_same(release, tmp_path, as_archive):
    source = release
    if as_archive:
        source = tmp_path / "en.tar.gz"
        with tarfile.open(source, "w:gz", compresslevel=1) as tar:
            tar.add(release, "cv/en")

    def command(out):
        return [
            sys.executable,
            str(ROOT / "bin" / "import_cv2.py"),
            str(source),
            "--output_dir",
            str(out),
            "--language",
            "en",
        ]

    def clips(out) -> int:
        return sum(name.endswith(".wav") for name in os.listdir(out / "clips")) if (out / "clips").is_dir() else 0

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    expected = files(tmp_path / "whole")
    rng = random.Random(5)
    killed = 0
    for attempt in range(4):
        out = tmp_path / f"killed{attempt}"
        for least in sorted(rng.sample(range(clips(tmp_path / "whole")), 3)):
            process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if attempt == 0:  # while tables are read, and about the first clips
                time.sleep(rng.uniform(0.1, 1))
            while attempt and process.poll() is None and clips(out) < least:
                time.sleep(0.001)
            killed += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run(command(out), check=True, capture_output=True)
        assert not [name for name in files(out) if name.endswith(".part")]
        assert files(out) == expected
        shutil.rmtree(out)
    assert killed > 3


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback_and_the_same_command_resumes(release, tmp_path):
    command = [sys.executable, str(ROOT / "bin" / "import_cv2.py"), str(release), "--output_dir", str(tmp_path / "out")]
    # A shell that starts the tests in the background has them ignore Ctrl-C, and the program would inherit that.
    options = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options) as process:
        while len(list(tmp_path.glob("out/clips/*.wav"))) < 50:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal: to the workers too
        _, log = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in log and "the same command resumes" in log
    done = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert 0 < int(re.search(r"(\d+) done before", done)[1]) < 647
    assert len(read(tmp_path / "out" / "train.csv")) == 439


def make_spontaneous(folder: Path, make_wav) -> Path:
    """A release of Spontaneous Speech 3.0 with a clip in each set, and two without a text."""
    columns = SPONTANEOUS.split()
    rows = [
        ("train", "Hello there."),
        ("dev", "um [disfluency] yes [noise]"),
        ("test", "It’s fine"),
        ("unassigned", ""),
        ("unassigned", "so [unclear] it was"),
        ("unassigned", "and more"),
    ]
    (folder / "audios").mkdir(parents=True)
    lines = ["\t".join(columns)]
    for number, (split, text) in enumerate(rows):
        audio = f"spontaneous-speech-en-{number}.mp3"
        os.rename(make_wav(folder / "x.wav"), folder / "audios" / audio)
        known = {"client_id": f"c{number}", "audio_file": audio, "duration_ms": "1000", "split": split}
        lines.append("\t".join((known | {"transcription": text}).get(column, "") for column in columns))
    (folder / "ss-corpus-en.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "ss-reported-audios-en.tsv").write_text("client_id\taudio_id\taudio_file\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["folder", "archive", "folder above"])
def test_spontaneous_speech_is_imported_with_its_own_sets(tmp_path, make_wav, monkeypatch, form):
    folder = make_spontaneous(tmp_path / "in" / "sps-corpus-3.0-2026-03-09-en", make_wav)
    source = {"folder": folder, "folder above": folder.parent}.get(form) or shutil.make_archive(
        str(tmp_path / folder.name), "gztar", tmp_path / "in"
    )
    monkeypatch.setenv("DEEPSPEECH_CORPORA", str(tmp_path / "corpora"))
    assert command("import cv2", [str(source), "--workers", "1"]) == 0
    out = next((tmp_path / "corpora").iterdir())
    assert out.name == ("common_voice_en" if form == "folder above" else "spontaneous_speech_en")
    found = {name: [row["transcript"] for row in read(out / f"{name}.csv")] for name in ("train", "dev", "test")}
    assert found == {"train": ["hello there"], "dev": ["um yes"], "test": ["it's fine"]}
    assert [row["transcript"] for row in read(out / "unassigned.csv")] == ["and more"]
    rejected = [(row["row"], row["reason_code"]) for row in read(out / "rejected.csv")]
    assert rejected == [("5", "empty_transcript"), ("6", "bad_row")]


def test_a_spontaneous_clip_that_is_shorter_than_promised_is_named(tmp_path, make_wav):
    folder = make_spontaneous(tmp_path / "sps", make_wav)
    table = folder / "ss-corpus-en.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("\t1000\t", "\t9000\t", 1), encoding="utf-8")
    assert command("import cv2", [str(folder), "--output_dir", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert "truncated" in read(tmp_path / "out" / "rejected.csv")[0]["reason"]
