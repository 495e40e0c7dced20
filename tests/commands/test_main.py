"""The program: which command is meant, what it says, and with which code it ends."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from deepspeech_training.commands import COMMANDS, main
from deepspeech_training.config import parse_flags
from deepspeech_training.errors import UserError
from deepspeech_training.training.interrupt import interrupts

PROGRAM = [sys.executable, "-m", "deepspeech_training"]


@pytest.fixture
def command(monkeypatch):
    """A function that replaces the work of `data stats` by another function."""

    def replace(work):
        module = SimpleNamespace(parser=main.module_of("data stats").parser, run=work)
        monkeypatch.setattr(main, "module_of", lambda name: module)

    return replace


def test_the_list_of_commands_names_all_and_needs_neither_numpy_nor_tensorflow():
    script = "import sys; sys.modules.update(numpy=None, tensorflow=None, keras=None)\n"
    script += "from deepspeech_training.commands.main import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and "--model FILE --audio FILE" in done.stdout, done.stderr
    listed = {line[2:22].strip() for line in done.stdout.splitlines() if line[:2] == "  " != line[2:4]}
    assert listed == {name for name in COMMANDS if not name.startswith("import ")} | {"import CORPUS"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_on_a_command_says_how_it_is_called(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["help", *name.split()])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"deepspeech {name}" in said
    assert max(map(len, said.splitlines())) <= 120


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "usage: deepspeech COMMAND"),
        (["data"], 2, "data check"),
        (["help", "import"], 0, "Common Voice"),
        (["data", "--help"], 0, "data show"),
        (["trian"], 2, "did you mean `deepspeech train`?"),
        (["data", "chek"], 2, "did you mean `deepspeech data check`?"),
        (["import", "common_voice"], 2, "did you mean `deepspeech import cv2`?"),
        (["import", "xyzzy"], 2, "`deepspeech help import` lists them"),
        (["help", "xyzzy"], 2, "`deepspeech help` lists them"),
        (["data", "stats", "none.csv"], 1, "none.csv"),
        (["train"], 2, "there is nothing to do"),
        (["train", "--epoch", "3"], 2, "did you mean --epochs"),
    ],
)
def test_what_is_called_and_how_it_ends(words, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(words) == code
    printed = capsys.readouterr()
    assert said in (printed.err if code else printed.out)


def test_without_a_command_the_program_is_the_client_of_deepspeech(capsys):
    with pytest.raises(SystemExit):
        main.main(["--version"])
    assert capsys.readouterr().out.startswith("deepspeech_training ")
    assert main.main(["--model", "none.tflite", "--audio", "none.wav", "--stream", "7"]) == 2
    assert "--stream 7" in capsys.readouterr().err


def test_an_error_that_a_person_can_mend_has_no_traceback_and_a_mistake_of_ours_has_one(command, capsys):
    def fails(flags, console):
        raise UserError("line one\nline two")

    command(fails)
    assert main.run("data stats", ["a.csv"]) == 1
    assert capsys.readouterr().err == "E line one\nE line two\n"
    command(lambda flags, console: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.run("data stats", ["a.csv"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_any_command_with_its_code(number, code, command, capsys):
    command(lambda flags, console: os.kill(os.getpid(), number))
    assert main.run("data stats", ["a.csv"]) == code
    assert capsys.readouterr().err == ""


def test_a_command_that_resumes_says_so_when_it_is_stopped(monkeypatch, capsys, tmp_path):
    module = main.module_of("import an4")
    monkeypatch.setattr(module, "run", lambda flags, console: os.kill(os.getpid(), signal.SIGINT))
    assert main.run("import an4", [str(tmp_path)]) == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_a_copy_of_the_process_has_the_usual_signals_again():
    interrupts.install()
    child = os.fork()
    if child == 0:
        os._exit(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("words", "code"), [(["data", "show"], 0), (["data", "stats"], 1)])
def test_a_reader_that_has_had_enough_ends_the_command_in_silence(words, code, corpus):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, *words, corpus(["one"])], stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (code, b"")


def test_the_command_line_is_kept_as_it_was_typed():
    parsed = main.module_of("train").parser("deepspeech train").parse_args(["--train_files", "my clips.csv"])
    assert parsed.command_line == "deepspeech train --train_files 'my clips.csv'"
    assert parsed.config == parse_flags(["--train_files", "my clips.csv"]).config


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_their_options(shell, capsys):
    assert main.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("--train_batch_size", "--nolayer_norm", "scorer", "cv2", "--rejected_file"))


def test_bash_completes_a_command_an_option_and_a_choice(capsys, tmp_path):
    main.main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    for line, expected in (
        ("deepspeech sc", "scorer"),
        ("deepspeech data st", "stats"),
        ("deepspeech train --learning_ra", "--learning_rate"),
        ("deepspeech train --best_by w", "wer"),
        ("deepspeech transcribe --format v", "vtt"),
    ):
        ask = (
            f"source {tmp_path / 'script'}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
            "$(complete -p deepspeech | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo ${COMPREPLY[@]}"
        )
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == [expected], line
