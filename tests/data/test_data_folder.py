import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.commands.main import run
from deepspeech_training.config import parse_flags
from deepspeech_training.console import Console
from deepspeech_training.data.folder import missing, report, scan, split, write_csvs
from deepspeech_training.data.text import Cleaner
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.training.run import kinds_of_data
from deepspeech_training.training.text_scorer import text_files

ROOT = Path(__file__).resolve().parents[2]
ENGLISH = Alphabet.english()
WORDS = ["she", "had", "your", "dark", "suit", "water", "all", "year"]


def record(path: Path, text: str | None = None, *, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(round(16000 * seconds)) / 9).astype(np.float32), 16000)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    """30 clips of six speakers with texts beside them, and three that cannot be used."""
    root = tmp_path / "voices"
    for speaker in range(6):
        for number in range(5):
            suffix = ("wav", "flac", "ogg")[number % 3]
            record(root / f"s{speaker}" / f"{number}.{suffix}", f"{WORDS[speaker].capitalize()}, {WORDS[number]}!\n")
    record(root / "s1" / "lonely.wav")
    (root / "s2" / "broken.mp3").write_bytes(b"no audio at all")
    (root / "s2" / "new.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    return root


def test_everything_below_the_folder_is_found(folder):
    found = scan(folder, Console())
    assert len(found.clips) == 33 and len(found.usable) == 30
    faults = {clip.path.name: clip.error.reason for clip in found.clips if clip.error}
    assert set(faults) == {"broken.mp3", "new.m4a"} and "cut" in faults["new.m4a"]
    assert missing(found, ENGLISH) == []


def test_the_report_counts_formats_hours_and_what_is_broken(folder):
    text = "\n".join(report(scan(folder, Console()), ENGLISH))
    for words in (
        "33 recordings",
        "wav        13 files",
        "flac       12 files",
        "ogg         6 files",
        "Broken    2",
        "30 transcripts: 30 from text files",
        "1 recordings have none",
        "lonely.wav",
        "Missing   nothing",
    ):
        assert words in text, words


def test_speakers_are_not_divided_and_the_division_stays(folder):
    first, second = (split(scan(folder, Console())) for _ in range(2))
    assert {name: len(clips) for name, clips in first.items()} == {"train": 20, "dev": 5, "test": 5}
    speakers = {name: {clip.path.parent.name for clip in clips} for name, clips in first.items()}
    assert not speakers["train"] & speakers["dev"] and not speakers["dev"] & speakers["test"]
    assert first == second


def test_few_clips_are_all_trained_on(tmp_path):
    for number in range(3):
        record(tmp_path / f"{number}.wav", "she")
    assert {name: len(clips) for name, clips in split(scan(tmp_path, Console())).items()} == {
        "train": 3,
        "dev": 0,
        "test": 0,
    }


def test_the_csvs_name_files_from_where_they_are(folder, tmp_path):
    written = write_csvs(scan(folder, Console()), tmp_path / "made", ENGLISH)
    assert set(written) == {"train", "dev", "test"}
    with open(written["train"], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and all((tmp_path / "made" / row["wav_filename"]).is_file() for row in rows)
    assert all(row["transcript"] == row["transcript"].lower() and "," not in row["transcript"] for row in rows)
    before = {name: Path(path).read_bytes() for name, path in written.items()}
    write_csvs(scan(folder, Console()), tmp_path / "made", ENGLISH)
    assert before == {name: Path(path).read_bytes() for name, path in written.items()}


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.trans.txt", "one SHE HAD\ntwo ALL YEAR\n", "*.trans.txt"),
        ("metadata.csv", "one|She had.|she had\ntwo|All year.|all year\n", "metadata.csv"),
        ("transcripts.tsv", "one.wav\tshe had\ntwo.wav\tall year\n", "transcripts.tsv"),
    ],
)
def test_transcripts_in_one_file_are_found(tmp_path, name, text, kind):
    for stem in ("one", "two"):
        record(tmp_path / f"{stem}.wav")
    (tmp_path / name).write_text(text)
    found = scan(tmp_path, Console())
    assert [(Cleaner(ENGLISH)(clip.transcript), clip.said.kind) for clip in found.clips] == [
        ("she had", kind),
        ("all year", kind),
    ]


def test_csvs_of_the_folder_are_taken_as_they_are(tmp_path):
    record(tmp_path / "wavs/one.wav")
    for name in ("train", "dev"):
        (tmp_path / f"en-{name}.csv").write_text("wav_filename,wav_filesize,transcript\nwavs/one.wav,,she had\n")
    found = scan(tmp_path, Console())
    assert found.csvs["train"] == (str(tmp_path / "en-train.csv"),) and found.csvs["test"] == ()
    assert found.usable[0].transcript == "she had"


def test_what_is_missing_is_told(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "there are no recordings" in missing(scan(tmp_path / "empty", Console()), ENGLISH)[0]
    record(tmp_path / "bare/one.wav")
    assert "no recording has a transcript" in missing(scan(tmp_path / "bare", Console()), ENGLISH)[0]
    record(tmp_path / "odd/one.wav", "café 3")
    assert "'é' '3'" in missing(scan(tmp_path / "odd", Console()), ENGLISH)[0]
    assert run("train", ["--check_voice_data", "--voice_data_dir", str(tmp_path / "bare")]) == 1
    assert "Missing   no recording has a transcript" in capsys.readouterr().out
    assert run("train", ["--check_voice_data"]) == 2
    assert run("train", ["--check_voice_data", "--voice_data_dir", str(tmp_path / "nowhere")]) == 1


# --- voice, text or both -----------------------------------------------------------------------------------------


def kinds(*flags) -> set[str]:
    return set(kinds_of_data(parse_flags(list(map(str, flags))).config))


def test_auto_looks_at_what_there_is(folder, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("she had\n")
    assert kinds("--train_files", "a.csv") == {"voice"}
    assert kinds("--voice_data_dir", folder) == {"voice"}
    assert kinds("--voice_data_dir", texts) == {"text"}
    assert kinds("--text_data", texts) == {"text"}
    assert kinds("--train_files", "a.csv", "--text_data", texts) == {"voice", "text"}
    assert kinds("--test_files", "a.csv") == set()
    assert kinds("--voice_mode", "text", "--train_files", "a.csv") == {"text"}
    assert kinds("--voice_mode", "voice", "--train_files", "a.csv", "--text_data", texts) == {"voice"}


def test_data_that_contradicts_or_lacks_is_refused(folder, tmp_path):
    (tmp_path / "texts").mkdir()
    for flags, words in (
        (["--voice_data_dir", folder, "--train_files", "a.csv"], "two sources"),
        (["--voice_mode", "text"], "there is no text"),
        (["--voice_mode", "voice", "--voice_data_dir", tmp_path / "texts"], "no recordings below"),
    ):
        with pytest.raises(FlagError, match=words):
            kinds(*flags)


def test_text_data_may_be_files_and_folders(tmp_path):
    for name in ("a.txt", "deep/b.txt.gz", "deep/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    texts, csvs = text_files([str(tmp_path)])
    assert [Path(p).name for p in texts] == ["a.txt", "b.txt.gz"] and [Path(p).name for p in csvs] == ["c.csv"]
    for bad in (tmp_path / "nowhere", tmp_path / "deep" / "empty"):
        (tmp_path / "deep" / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="--text_data"):
            text_files([str(bad)])


# --- the 18 combinations of compute mode, kind of data, and wrapper or not ------------------------------------------

WRAPPERS = {"gpu": "train_gpu_only.sh", "cpu": "train_cpu_only.sh", "mixed": "train_mixed.sh"}


@pytest.fixture(scope="module")
def small_voices(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for number in range(20):
        text = f"{WORDS[number % 8]} {WORDS[3 * number % 8]}"
        soundfile.write(root / f"{number}.wav", synthesize(text, seed=number), 16000)
        (root / f"{number}.txt").write_text(text)
    return root


def call(mode: str, kind: str, wrapper: bool, *flags):
    environment = {k: v for k, v in os.environ.items() if k not in ("DEEPSPEECH_MODE", "CUDA_VISIBLE_DEVICES")}
    environment |= {"PYTHON": sys.executable, "LD_LIBRARY_PATH": ""}
    if wrapper:
        command = [str(ROOT / "bin" / WRAPPERS[mode]), *([] if kind == "auto" else [kind])]
    else:
        command = [sys.executable, str(ROOT / "DeepSpeech.py"), "--mode", mode, "--voice_mode", kind]
    return subprocess.run([*command, *map(str, flags)], env=environment, capture_output=True, text=True, check=False)


def has_a_gpu() -> bool:
    from deepspeech_training.machine.resources import read_gpus

    return bool(read_gpus()[0])


@pytest.mark.parametrize("wrapper", [False, True], ids=["flags", "wrapper"])
@pytest.mark.parametrize("kind", ["voice", "text", "auto"])
def test_mode_gpu_without_a_gpu_ends_with_1_and_the_list(small_voices, tmp_path, kind, wrapper):
    if has_a_gpu():
        pytest.skip("this machine has a GPU")
    found = call("gpu", kind, wrapper, "--voice_data_dir", small_voices, "--output_dir", tmp_path / "out")
    assert found.returncode == 1 and "No GPU was seen" in found.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrapper", [False, True], ids=["flags", "wrapper"])
@pytest.mark.parametrize("mode", ["cpu", "mixed"])
def test_text_mode_builds_a_scorer(tmp_path, mode, wrapper):
    (tmp_path / "text.txt").write_text("she had your dark suit\nall year\n" * 9)
    out = tmp_path / "out"
    found = call(mode, "text", wrapper, "--text_data", tmp_path / "text.txt", "--output_dir", out)
    assert found.returncode == 0, found.stderr
    assert (out / "scorer/model.scorer").stat().st_size > 1000 and "Kind      text: a language model" in found.stderr
    assert len(list((out / "logs").glob("session_*.json"))) == 1 and not (out / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", [False, True], ids=["flags", "wrapper"])
@pytest.mark.parametrize("kind", ["voice", "auto"])
@pytest.mark.parametrize("mode", ["cpu", "mixed"])
def test_voice_mode_trains_on_the_folder(small_voices, tmp_path, mode, kind, wrapper):
    out = tmp_path / "out"
    found = call(
        mode,
        kind,
        wrapper,
        "--voice_data_dir",
        small_voices,
        "--output_dir",
        out,
        "--n_hidden",
        16,
        "--epochs",
        1,
        "--train_batch_size",
        8,
        "--report_count",
        0,
    )
    assert found.returncode == 0, found.stderr
    assert f"Kind      {kind}: the acoustic model, as there are recordings" in found.stderr
    assert ("NO GPU IS USED" in found.stderr) == (mode == "mixed" and not has_a_gpu())
    assert list((out / "checkpoints").glob("train-*.json")) and list((out / "logs").glob("session_*.json"))
    assert found.stdout.startswith("Test on ")


def test_a_wrapper_sets_its_mode_itself():
    found = call("cpu", "auto", True, "--mode", "gpu")
    assert found.returncode == 2 and "this script sets it" in found.stderr
