import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.commands.main import run as command
from deepspeech_training.config.groups import DEEPSPEECH_WEIGHTS
from deepspeech_training.runtime import CandidateTranscript, TokenMetadata
from deepspeech_training.runtime.words import words
from deepspeech_training.scorer.package import set_alpha_beta

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPT = "she had your dark suit in greasy wash water all year"


@pytest.fixture
def deepspeech(model_path, clip_path, capfd):
    """A function that runs the command on the clip, with further options; -> exit code, stdout, stderr."""

    def run(*options, audio=clip_path, model=model_path):
        exit_code = command("client", ["--model", str(model), "--audio", str(audio), *map(str, options)])
        return exit_code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("options", [(), ("--extended",), ("--beam_width", 100), ("--candidate_transcripts", 2)])
def test_stdout_has_the_text_and_nothing_else(deepspeech, compiled_beam, options):
    assert deepspeech(*options) == (0, TRANSCRIPT + "\n", "")


def test_a_scorer_is_used_with_its_options(deepspeech, compiled_beam, test_data):
    scorer = ("--scorer", test_data / "ldc93s1" / "pruned_lm.scorer")
    assert deepspeech(*scorer, "--beam_width", 50) == (0, TRANSCRIPT + "\n", "")
    exit_code, out, err = deepspeech(*scorer, "--lm_alpha", 1, "--hot_words", "dark:-1000", "--beam_width", 50)
    assert (exit_code, err) == (0, "") and "dark" not in out
    exit_code, out, err = deepspeech(*scorer, "--json", "--candidate_transcripts", 4, "--beam_width", 50)
    assert (exit_code, err) == (0, "") and len(json.loads(out)["transcripts"]) == 4


def test_hot_words_that_the_dictionary_lacks_are_told(deepspeech, compiled_beam, test_data):
    scorer = ("--scorer", test_data / "ldc93s1" / "pruned_lm.scorer", "--beam_width", 50)
    exit_code, out, err = deepspeech(*scorer, "--hot_words", "dark:1,Dark:1,your dark:1,café:1")
    assert (exit_code, out) == (0, TRANSCRIPT + "\n")
    assert err.startswith("W --hot_words Dark, your dark, café: not in the dictionary of ")


def test_weights_that_are_given_count_instead_of_the_scorers_whatever_they_are(
    deepspeech, compiled_beam, test_data, tmp_path
):
    path = tmp_path / "my.scorer"
    path.write_bytes((test_data / "ldc93s1" / "pruned_lm.scorer").read_bytes())
    defaults = [word for name, value in DEEPSPEECH_WEIGHTS.items() for word in (f"--{name}", value)]
    set_alpha_beta(path, alpha=0, beta=-1000)  # each word costs more than all of the clip
    scorer = ("--scorer", path, "--beam_width", 50)
    assert deepspeech(*scorer)[1] != TRANSCRIPT + "\n"
    assert deepspeech(*scorer, *defaults) == (0, TRANSCRIPT + "\n", "")
    set_alpha_beta(path, **dict(zip(("alpha", "beta"), DEEPSPEECH_WEIGHTS.values(), strict=True)))
    assert deepspeech(*scorer) == (0, TRANSCRIPT + "\n", "")
    assert deepspeech(*scorer, "--lm_beta", -1000)[1] != TRANSCRIPT + "\n"


def test_a_scorer_that_is_not_there_exits_with_1(deepspeech):
    exit_code, out, err = deepspeech("--scorer", "x.scorer")
    assert (exit_code, out) == (1, "") and "x.scorer: there is no such scorer" in err


def test_json_has_the_fields_of_deepspeech(deepspeech):
    exit_code, out, err = deepspeech("--json")
    (transcript,) = json.loads(out)["transcripts"]
    assert (exit_code, err) == (0, "")
    assert transcript.keys() == {"confidence", "words"} and transcript["confidence"] < 0
    assert [word["word"] for word in transcript["words"]] == TRANSCRIPT.split()
    starts = [word["start_time"] for word in transcript["words"]]
    assert starts == sorted(starts) and all(word["duration"] > 0 for word in transcript["words"])


def test_words_end_at_the_space_after_them_and_spaces_are_no_words():
    tokens = tuple(TokenMetadata(text, i, i * 0.5) for i, text in enumerate(" ab  c "))
    assert words(CandidateTranscript(-1.0, tokens)) == [
        {"word": "ab", "start_time": 0.5, "duration": 1.0},
        {"word": "c", "start_time": 2.5, "duration": 0.5},
    ]


@pytest.mark.parametrize("option", ["--stream", "--extended_stream"])
def test_streaming_prints_each_new_text_and_the_final_one(deepspeech, option):
    exit_code, out, err = deepspeech(option, 8000)
    lines = out.splitlines()
    assert (exit_code, err, lines[-1]) == (0, "", TRANSCRIPT)
    assert len(lines) > 3 and all(TRANSCRIPT.startswith(line) for line in lines)


@pytest.mark.parametrize(
    ("name", "rate"), [("LDC93S1.flac", 16000), ("LDC93S1.ogg", 8000), ("LDC93S1_pcms16le_2_44100.wav", 44100)]
)
def test_any_format_and_rate_is_read_and_a_change_of_rate_is_said_once(deepspeech, test_data, name, rate):
    exit_code, out, err = deepspeech(audio=test_data / "ldc93s1" / name)
    assert exit_code == 0 and out.count("\n") == 1 and out.startswith("she had")
    said = err.splitlines()
    assert len(said) == (rate != 16000)
    assert all(f"resampled from {rate} Hz to the model's 16000 Hz" in line for line in said)


def test_the_time_is_said_on_stderr(deepspeech):
    exit_code, out, err = deepspeech("-t")
    assert (exit_code, out) == (0, TRANSCRIPT + "\n") and err.startswith("I cpu_time_overall=")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--hot_words", "a:1"), "--hot_words needs --scorer"),
        (("--lm_alpha", "0.9"), "--lm_alpha needs --scorer"),
        (("--scorer", "x", "--lm_beta", "1e9"), "--lm_beta 1000000000.0: it must be"),
        (("--scorer", "x", "--hot_words", "a"), "a word, a colon and a number"),
        (("--scorer", "x", "--hot_words", "a:1,a:2"), "given twice"),
        (("--scorer", "x", "--beam_width", 0), "no use for --scorer"),
        (("--beam_width", -1), "from 0 (greedy)"),
        (("--candidate_transcripts", 0), "1 or more"),
        (("--stream", 100), "multiple of 160"),
        (("--extended_stream", -160), "multiple of 160"),
        (("--stream", 160, "--json"), "exclude each other"),
    ],
)
def test_wrong_options_exit_with_2(deepspeech, options, says):
    exit_code, out, err = deepspeech(*options)
    assert (exit_code, out) == (2, "") and says in err


def test_wrong_files_exit_with_1(deepspeech, tmp_path, clip_path):
    assert deepspeech(model=clip_path)[::2] == (1, deepspeech(model=clip_path)[2])
    assert "not a .tflite" in deepspeech(model=clip_path)[2]
    exit_code, out, err = deepspeech(audio=tmp_path / "missing.wav")
    assert (exit_code, out) == (1, "") and "missing.wav: the file does not exist" in err
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no audio at all")
    assert deepspeech(audio=noise)[0] == 1
    soundfile.write(tmp_path / "nan.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    exit_code, _, err = deepspeech(audio=tmp_path / "nan.wav")
    assert exit_code == 1 and "not finite" in err


def test_audio_without_a_sample_is_an_empty_text(deepspeech, tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.int16), 16000)
    assert deepspeech(audio=tmp_path / "none.wav") == (0, "\n", "")
    (tmp_path / "zero_bytes.wav").touch()
    exit_code, out, err = deepspeech(audio=tmp_path / "zero_bytes.wav")
    assert (exit_code, out) == (1, "") and "0 bytes" in err


def test_the_programs_in_bin_run_from_anywhere(model_path, clip_path, tmp_path):
    finished = subprocess.run(
        [sys.executable, ROOT / "bin" / "deepspeech", "--model", model_path, "--audio", clip_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, TRANSCRIPT + "\n", "")
    for program in ("deepspeech", "evaluate_export", "transcribe"):
        finished = subprocess.run(
            [sys.executable, ROOT / "bin" / program, "--nonsense"], capture_output=True, text=True, check=False
        )
        assert finished.returncode == 2 and finished.stdout == "" and "usage" in finished.stderr


@pytest.fixture
def test_csv(tmp_path, clip, clip_path):
    soundfile.write(tmp_path / "half.flac", clip[:23000], 16000)
    path = tmp_path / "test.csv"
    path.write_text(
        "wav_filename,wav_filesize,transcript\n"
        f"{clip_path},0,{TRANSCRIPT}\nhalf.flac,0,she had your dark\nmissing.wav,0,nothing\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("processes", [1, 2])
def test_an_export_is_evaluated_and_unusable_clips_are_left_out(model_path, test_csv, tmp_path, capfd, processes):
    arguments = ["--model", model_path, "--csv", test_csv, "--proc", processes, "--dump", tmp_path / "dumped"]
    assert command("evaluate", [str(argument) for argument in arguments]) == 0
    out, err = capfd.readouterr()
    assert "(2 clips)" in out and TRANSCRIPT in out and "Greedy" not in out
    assert "row 4: " in err and "does not exist" in err and "1 of 3 rows are left out" in err
    references = (tmp_path / "dumped.txt").read_text(encoding="utf-8").splitlines()
    hypotheses = (tmp_path / "dumped.out").read_text(encoding="utf-8").splitlines()
    assert references == [TRANSCRIPT, "she had your dark"] and hypotheses[0] == TRANSCRIPT
    assert hypotheses[1].startswith("she had your dark")


def test_an_evaluation_with_a_scorer_tells_what_the_scorer_changes(
    model_path, clip_path, test_data, tmp_path, capfd, compiled_beam
):
    path = tmp_path / "my.scorer"
    path.write_bytes((test_data / "ldc93s1" / "pruned_lm.scorer").read_bytes())
    table = tmp_path / "test.csv"
    table.write_text(f"wav_filename,wav_filesize,transcript\n{clip_path},0,{TRANSCRIPT} qwxz\n", encoding="utf-8")
    arguments = ["--model", model_path, "--csv", table, "--proc", 1, "--scorer", path, "--beam_width", 30]
    arguments += ["--lm_beta", -1000]  # the scorer spoils what is right without it
    assert command("evaluate", list(map(str, arguments))) == 0
    with_scorer, without, greedy, *rest = capfd.readouterr().out.splitlines()
    assert float(with_scorer.split("WER: ")[1].split(",")[0]) > 0.5
    assert without.startswith("Without the scorer, at the same beam width - WER: 0.083333")
    assert greedy.startswith("Greedy, without beam and scorer - WER: 0.083333")
    assert "Words that the scorer does not know: 1 of 12 - qwxz 1" in rest


def test_an_evaluation_that_cannot_be_says_why(model_path, tmp_path, capfd):
    empty = tmp_path / "empty.csv"
    empty.write_text("wav_filename,wav_filesize,transcript\n", encoding="utf-8")
    for arguments, exit_code, says in (
        (["--model", model_path, "--csv", empty], 1, "no rows"),
        (["--model", empty, "--csv", empty], 1, "not a .tflite"),
        (["--model", model_path, "--csv", empty, "--proc", 0], 2, "--proc 0"),
        (["--model", model_path, "--csv", empty, "--scorer", "x"], 1, "no such scorer"),
    ):
        assert command("evaluate", [str(argument) for argument in arguments]) == exit_code
        assert says in capfd.readouterr().err
