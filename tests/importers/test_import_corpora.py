"""The importers of public corpora, on small trees of their published layouts, and on real data where there is some."""

import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from test_import_corpus import read

from deepspeech_training.commands import main
from deepspeech_training.importers.speech_commands import set_of

ROOT = Path(__file__).resolve().parents[2]


def run(name, *arguments, out) -> int:
    return main.run(f"import {name}", [*map(str, arguments), "--output_dir", str(out), "--workers", "1"])


def kept(out, *parts) -> list[tuple[str, str]]:
    return sorted((row["client_id"], row["transcript"]) for part in parts for row in read(out / f"{part}.csv"))


EVERYWHERE = ("train", "dev", "test")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_speech_commands_have_the_official_split_and_no_noise(tmp_path, make_wav):
    # The official test set has clips of 837a0f64, and none of 0a7c2a8d.
    in_dev = next(name for name in map(str, range(100)) if set_of(f"{name}_nohash_0.wav") == "dev")
    by_set = {"train": "0a7c2a8d", "dev": in_dev, "test": "837a0f64"}
    for speaker in by_set.values():
        make_wav(tmp_path / "sc" / "yes" / f"{speaker}_nohash_0.wav", 1)
        make_wav(tmp_path / "sc" / "left" / f"{speaker}_nohash_1.wav", 1)
    make_wav(tmp_path / "sc" / "_background_noise_" / "pink_noise.wav", 3)
    assert run("speech_commands", tmp_path / "sc", out=tmp_path / "out") == 0
    for part, speaker in by_set.items():
        assert kept(tmp_path / "out", part) == [(speaker, "left"), (speaker, "yes")]


def test_librispeech(tmp_path, make_wav):
    # openslr.org/12, README.TXT: LibriSpeech/dev-clean/84/121123/84-121123.trans.txt, 84-121123-0000.flac
    for subset, speaker in (("train-clean-100", 19), ("train-other-500", 20), ("dev-clean", 84), ("test-clean", 61)):
        folder = tmp_path / "LibriSpeech" / subset / str(speaker) / "7"
        write(folder / f"{speaker}-7.trans.txt", f"{speaker}-7-0000 CHAPTER ONE\n{speaker}-7-0001 I SAID\nbroken\n")
        for number in range(2):
            make_wav(folder / f"{speaker}-7-000{number}.flac", 1)
    assert run("librivox", tmp_path / "LibriSpeech", out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", "train") == [
        ("19", "chapter one"),
        ("19", "i said"),
        ("20", "chapter one"),
        ("20", "i said"),
    ]
    assert kept(tmp_path / "out", "dev") == [("84", "chapter one"), ("84", "i said")]
    assert [row["row"] for row in read(tmp_path / "out" / "rejected.csv")] == ["3"] * 4


def test_librispeech_out_of_several_archives(tmp_path, make_wav):
    import shutil

    for subset, speaker in (("train-clean-100", 19), ("dev-clean", 84), ("test-clean", 61)):
        folder = tmp_path / subset / "LibriSpeech" / subset / str(speaker) / "7"
        write(folder / f"{speaker}-7.trans.txt", f"{speaker}-7-0000 CHAPTER ONE\n")
        make_wav(folder / f"{speaker}-7-0000.flac", 1)
        shutil.make_archive(str(tmp_path / subset), "gztar", tmp_path / subset)
    archives = [tmp_path / f"{subset}.tar.gz" for subset in ("train-clean-100", "dev-clean", "test-clean")]
    assert run("librivox", *archives, out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", *EVERYWHERE) == [(speaker, "chapter one") for speaker in ("19", "61", "84")]


def test_multilingual_librispeech(tmp_path, make_wav):
    # README of the corpus: mls_german/dev/transcripts.txt, dev/audio/SPEAKER/BOOK/SPEAKER_BOOK_NUMBER.flac
    root = tmp_path / "mls_german"
    for set_name, speaker in (("train", "10"), ("dev", "20"), ("test", "30")):
        name = f"{speaker}_77_000000"
        write(root / set_name / "transcripts.txt", f"{name}\tund grüße\nbroken\n")
        make_wav(root / set_name / "audio" / speaker / "77" / f"{name}.flac", 1)
    write(root / "train" / "limited_supervision" / "9hr" / "handles.txt", "10_77_000000\n")
    assert run("mls", root, out=tmp_path / "out") == 0
    assert [kept(tmp_path / "out", part) for part in EVERYWHERE] == [[(s, "und grüße")] for s in ("10", "20", "30")]
    assert len(read(tmp_path / "out" / "rejected.csv")) == 3


@pytest.mark.parametrize("version", ["0.80", "0.92"])
def test_vctk(version, tmp_path, make_wav):
    # datashare.ed.ac.uk/handle/10283/3443, README: txt/p225/p225_001.txt, wav48_silence_trimmed/p225/p225_001_mic1.flac
    root = tmp_path / "VCTK-Corpus"
    for speaker in ("p225", "p226", "p362"):
        write(root / "txt" / speaker / f"{speaker}_001.txt", "Please call Stella.\n")
        if version == "0.80":
            make_wav(root / "wav48" / speaker / f"{speaker}_001.wav", 1, 48000)
        elif speaker != "p362":
            for microphone in (1, 2):
                make_wav(root / "wav48_silence_trimmed" / speaker / f"{speaker}_001_mic{microphone}.flac", 1, 48000)
    assert run("vctk", root, out=tmp_path / "out") == 0
    speakers = [speaker for speaker, text in kept(tmp_path / "out", *EVERYWHERE) if text == "please call stella"]
    rejected = [row["reason_code"] for row in read(tmp_path / "out" / "rejected.csv")]
    assert (speakers, rejected) == (
        (["p225", "p226", "p362"], []) if version == "0.80" else (["p225", "p226"], ["missing_file"])
    )


@pytest.mark.parametrize("release", [2, 3])
def test_tedlium(release, tmp_path, make_wav):
    # openslr.org/51, README: data/{sph,stm}, legacy/{train,dev,test}/{sph,stm}; before: {train,dev,test}/{sph,stm}
    root = tmp_path / "TEDLIUM"
    folders = {"train": "train", "dev": "dev", "test": "test"}
    if release == 3:
        folders = {"train": "data", "dev": "legacy/dev", "test": "legacy/test", "old": "legacy/train"}
    for set_name, folder in folders.items():
        talk = f"{set_name}Speaker_2010"
        write(
            root / folder / "stm" / f"{talk}.stm",
            f"{talk} 1 {talk} 0.5 1.5 <o,f0,male> it 's what we 'll do(2) <sil>\n"
            f"{talk} 1 {talk} 1.50 2.50 <F0_M> two\n"
            f"{talk} 1 inter_segment_gap 2.5 2.8 <o,,unknown> ignore_time_segment_in_scoring\n"
            f"{talk} 1 {talk} 2.50 99 <o> late\nbroken\n",
        )
        wav = Path(make_wav(root / folder / "sph" / f"{talk}.wav", 3))
        wav.rename(wav.with_suffix(".sph"))
    assert run("ted", root, out=tmp_path / "out") == 0
    for part in EVERYWHERE:
        speaker = f"{part}Speaker_2010"
        assert kept(tmp_path / "out", part) == [(speaker, "it's what we'll do"), (speaker, "two")]
        for row in read(tmp_path / "out" / f"{part}.csv"):
            with wave.open(str(tmp_path / "out" / row["wav_filename"])) as file:
                assert file.getnframes() == 16000
    assert len(read(tmp_path / "out" / "rejected.csv")) == 9


def test_m_ailabs(tmp_path, make_wav):
    # caito.de/2019/01/03/the-m-ailabs-speech-dataset: by_book/female/READER/BOOK/{metadata.csv,wavs/}, by_book/mix/BOOK
    root = tmp_path / "en_US" / "by_book"
    for folder in ("female/judy/oz", "male/elliot/pirates", "mix/tales", "male/skipped/book"):
        write(root / folder / "metadata.csv", "a_01|Chapter 1.|Chapter one.\nbroken|x\n")
        make_wav(root / folder / "wavs" / "a_01.wav", 1)
    assert run("m-ailabs", tmp_path / "en_US", "--skiplist", "skipped,none", out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", *EVERYWHERE) == [(s, "chapter one") for s in ("", "elliot", "judy")]
    assert len(read(tmp_path / "out" / "rejected.csv")) == 3


def test_voxforge(tmp_path, make_wav):
    # repository.voxforge1.org: Aaron-20080318-kdl/etc/PROMPTS with "Aaron-20080318-kdl/mfc/a0019 TEXT", wav/a0019.wav
    for name, end in (("Aaron-20080318-kdl", "wav"), ("Aaron-20090101-abc", "flac"), ("anonymous-20080101-x", "wav")):
        write(
            tmp_path / "vf" / name / "etc" / "PROMPTS",
            f"{name}/mfc/a0019 HE SAID, PHILIP\n{name}/mfc/a0020 NO CLIP\n\nx\n",
        )
        make_wav(tmp_path / "vf" / name / end / f"a0019.{end}", 1)
    assert run("voxforge", tmp_path / "vf", out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", *EVERYWHERE) == [
        ("Aaron", "he said philip"),
        ("Aaron", "he said philip"),
        ("anonymous-20080101-x", "he said philip"),
    ]
    assert (
        sorted(row["reason_code"] for row in read(tmp_path / "out" / "rejected.csv"))
        == ["bad_row"] * 3 + ["missing_file"] * 3
    )


def test_lingua_libre(tmp_path, make_wav):
    # lingualibre.org/wiki/Help:Download_datasets: Q21-fra-French/SPEAKER/WORD.ogg
    root = tmp_path / "Q21-fra-French"
    for name in ("Ann/l'eau.wav", "Bob/bonne nuit.wav", "Bob/bogus.wav", "Cleo/café.wav"):
        make_wav(root / name, 1)
    write(tmp_path / "bogus.txt", "Bob/bog.*\n")
    assert run("lingua_libre", root, "--bogus_records", tmp_path / "bogus.txt", out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", *EVERYWHERE) == [("Ann", "l'eau"), ("Bob", "bonne nuit"), ("Cleo", "café")]
    write(tmp_path / "bogus.txt", "Bob/(\n")
    assert run("lingua_libre", root, "--bogus_records", tmp_path / "bogus.txt", out=tmp_path / "out") == 1


def test_an4_of_the_published_layout_with_sphere(test_data, tmp_path):
    # speech.cs.cmu.edu/databases/an4: etc/an4_train.transcription, "<s> YES </s> (NAME)", wav/an4_clstk/fash/NAME.sph
    write(
        tmp_path / "an4" / "etc" / "an4_train.transcription",
        "<s> YES </s> (an251-fash-b)\n<s> GO </s> (an1-mabc-b)\nx\n",
    )
    write(tmp_path / "an4" / "etc" / "an4_train.fileids", "an4_clstk/fash/an251-fash-b\nan4_clstk/mabc/an1-mabc-b\n")
    folder = tmp_path / "an4" / "wav" / "an4_clstk" / "fash"
    folder.mkdir(parents=True)
    (folder / "an251-fash-b.sph").write_bytes((test_data / "an4" / "sph" / "an251-fash-b.sph").read_bytes())
    assert run("an4", tmp_path / "an4", out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", *EVERYWHERE) == [("fash", "yes")]
    assert [row["reason_code"] for row in read(tmp_path / "out" / "rejected.csv")] == ["missing_file", "bad_row"]


def test_an4_without_headers_says_so(tmp_path, capsys):
    write(tmp_path / "an4" / "etc" / "an4_train.transcription", "<s> YES </s> (an251-fash-b)\n")
    write(tmp_path / "an4" / "wav" / "an251-fash-b.raw", "0" * 32000)
    assert run("an4", tmp_path / "an4", out=tmp_path / "out") == 1
    assert "row 1: raw samples without a header" in capsys.readouterr().err


def test_the_real_part_of_an4(test_data, tmp_path):
    assert run("an4", test_data / "an4", out=tmp_path / "out") == 0
    assert len(kept(tmp_path / "out", *EVERYWHERE)) == 8
    rejected = read(tmp_path / "out" / "rejected.csv")
    assert len(rejected) == 1078 - 8


def test_the_real_digits_by_speaker(test_data, tmp_path):
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    for path in (test_data / "fsdd" / "recordings").glob("*_[01].wav"):
        (tmp_path / "fsdd" / "recordings" / path.name).symlink_to(path)
    assert run("fsdd", tmp_path / "fsdd", out=tmp_path / "out") == 0
    counts = {part: len(read(tmp_path / "out" / f"{part}.csv")) for part in EVERYWHERE}
    assert counts == {"train": 60, "dev": 20, "test": 20}
    assert len({row["client_id"] for part in EVERYWHERE for row in read(tmp_path / "out" / f"{part}.csv")}) == 5
    assert not read(tmp_path / "out" / "rejected.csv")


def test_a_folder_with_texts(tmp_path, make_wav):
    root = tmp_path / "mine"
    for name, text in (("ann/1", "Hello\nthere"), ("bob/2", "Yes."), ("cleo/3", None)):
        make_wav(root / f"{name}.WAV".lower(), 1)
        if text:
            write(root / f"{name}.txt", text)
    assert run("folder", root, "--speaker_level", 1, out=tmp_path / "out") == 0
    assert kept(tmp_path / "out", *EVERYWHERE) == [("ann", "hello there"), ("bob", "yes")]
    assert [row["reason"] for row in read(tmp_path / "out" / "rejected.csv")] == ["there is no 3.txt beside it"]
    assert run("folder", root, "--text_end", "txt", out=tmp_path / "out") == 2


def test_every_importer_has_a_command_and_a_script():
    for script in sorted((ROOT / "data_formatting").glob("[a-z]*.sh")):
        command = next(
            word for word in script.read_text().split() if word.startswith("import_") and word.endswith(".py")
        )
        assert (ROOT / "bin" / command).is_file(), script
        assert script.stat().st_mode & 0o111, f"{script} is not executable"


def test_a_script_runs_its_importer_and_tells_how_it_is_used(tmp_path, make_wav):
    make_wav(tmp_path / "in" / "a.wav", 1)
    write(tmp_path / "in" / "a.txt", "hello")
    script = str(ROOT / "data_formatting" / "folder.sh")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "DEEPSPEECH_CORPORA": str(tmp_path / "corpora")}
    done = subprocess.run([script, "in"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "corpora" / "folder" / "train.csv")
    done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "data_formatting/folder.sh FOLDER_OR_ARCHIVE" in done.stderr


def test_the_page_lists_every_script_and_no_other():
    page = (ROOT / "docs" / "data_formatting.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([\w-]+\.sh)", page, re.MULTILINE))
    assert listed == {path.name for path in (ROOT / "data_formatting").glob("[a-z]*.sh")}
    assert set(re.findall(r"data_formatting/([\w-]+\.sh)", page)) <= listed
    for command in re.findall(r"bin/([\w-]+\.py)", page):
        assert (ROOT / "bin" / command).is_file(), command


def test_the_page_explains_every_reason():
    from deepspeech_training.importers.corpus import REJECTION_CODES

    page = (ROOT / "docs" / "data_formatting.md").read_text(encoding="utf-8")
    table = page[page.index("| reason_code") :]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)))) >= set(
        REJECTION_CODES
    )
