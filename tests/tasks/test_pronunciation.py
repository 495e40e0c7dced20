"""Words to pronunciations and back, the real way: lexicon, training, kill, resume, test, inspection."""

import io
import json
import random
import signal
import subprocess
import sys

import pytest
from training.processes import ROOT, differing_arrays, kill_in, run, run_state

from deepspeech_training import api
from deepspeech_training.checkpoints.inspection import inspect
from deepspeech_training.commands.main import main
from deepspeech_training.console import Console
from deepspeech_training.data.pronunciations import Pair
from deepspeech_training.errors import UserError
from deepspeech_training.models.transformer import Transformer
from deepspeech_training.tasks.base import Exports, UsedAsItIs
from deepspeech_training.tasks.pronunciation.loading import load_pronouncer
from deepspeech_training.tasks.pronunciation.metrics import WordErrors
from deepspeech_training.tasks.pronunciation.samples import Direction, WordSample
from deepspeech_training.tasks.pronunciation.task import WordTask

SOUNDS = {"a": "ɑː", "b": "b", "c": "k", "d": "d", "e": "ɛ", "sh": "ʃ", "u": "ʊ"}


def lexicon(folder, count: int = 120) -> str:
    """Words that are written as they are spoken, but for sh."""
    letters, rows = random.Random(0), {}
    while len(rows) < count:
        units = letters.choices(list(SOUNDS), k=letters.randint(1, 4))
        rows["".join(units)] = " ".join(SOUNDS[unit] for unit in units)
    path = folder / "words.tsv"
    path.write_text("".join(f"{word}\t{ipa}\n" for word, ipa in rows.items()), encoding="utf-8")
    return str(path)


def test_word_and_phone_error_rates_are_those_of_the_nearest_right_answer():
    right = (("ɹ", "iː", "d"), ("ɹ", "ɛ", "d"))
    sample = WordSample("t:1", "t", 1, "read", "ɹ iː d", (1, 2), (1, 2), right)
    errors = WordErrors()
    for answer in (("ɹ", "ɛ", "d"), ("ɹ", "ɛ", "t", "s"), ()):
        errors.add(sample, answer)
    assert (errors.wrong, errors.words, errors.distance, errors.symbols) == (2, 3, 5, 9)
    assert errors.figures() == {"wer": 2 / 3, "per": 5 / 9}


TRAINING = """
import json, deepspeech_training as ds
run = ds.train_ipa_model({path!r}, {folder!r}, epochs={epochs}, test_files=[{path!r}], mode="cpu", d_model=32, layers=1,
    heads=2, dropout_rate=0.0, train_batch_size=16, learning_rate=0.01, dev_share=0.1, resume_from_checkpoint={resume},
    export_dir={folder!r} + "-export", export_quantize=False)
print(json.dumps([run.reports[0].figures(), run.reports[0].as_json(), len(run.history)]))
"""


def trained(path: str, folder, *, epochs: int, resume: bool) -> tuple[list, str]:
    """Train in a process of its own -> the figures and results of the test with the epochs done, and what was said."""
    code = TRAINING.format(path=path, folder=str(folder), epochs=epochs, resume=resume)
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout), finished.stderr


def test_after_a_training_the_command_to_use_it_is_told():
    direction = Direction.of([Pair("t:1", "t", 1, "ab", "ɑː b")], to_ipa=True)
    task = WordTask(direction, Transformer(3, 4))
    assert isinstance(task, UsedAsItIs) and isinstance(task, Exports)
    assert task.how_to_use("my runs") == "deepspeech g2p --model 'my runs' WORD"


def refused(*words) -> str:
    """What a training that cannot begin says."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    with pytest.raises(UserError) as error:
        api.train(log_level=3, mode="cpu", **given)
    return str(error.value)


def used(folder, entries, capsys, monkeypatch) -> None:
    """`deepspeech g2p` with words, a file and a pipe; what it cannot do it says."""

    def g2p(*words) -> tuple[int, list[str], str]:
        code = main(["g2p", "--model", str(folder), *words])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    first = entries[0]
    answer = first["answers"][0]["text"]
    assert g2p(first["source"]) == (0, [f"{first['source']}\t{answer}"], "")
    code, lines, _ = g2p(first["source"], "abc", "--count", "2")
    assert code == 0 and len(lines) == 4 and float(lines[0].split("\t")[2]) > float(lines[1].split("\t")[2])
    (folder / "words.txt").write_text("abc\n\nABé\n", encoding="utf-8")
    code, lines, said = g2p("--file", str(folder / "words.txt"), "--json")
    assert code == 0 and [json.loads(line)["word"] for line in lines] == ["abc", "ABé"]
    assert "words.txt, row 3: ABé: the training data did not have 'A' 'B' 'é'" in said
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"abc\nABC\n")))
        code, lines, said = g2p()
    assert code == 0 and len(lines) == 2 and "in lower case all of them are known" in said
    assert g2p("x" * 201)[0] == 1 and g2p("abc", "--count", "0")[0] == 2
    assert main(["g2p", "--model", str(folder / "logs"), "abc"]) == 1
    assert "no checkpoint in it, and no exported model" in capsys.readouterr().err


def test_a_transformer_learns_to_pronounce_and_says_what_it_was_trained_on(tmp_path, capsys, monkeypatch):
    path, folder = lexicon(tmp_path), tmp_path / "run"
    (figures, entries, epochs), said = trained(path, folder, epochs=30, resume=False)
    for figure in ("train 108 pairs", "dev 12 words", "given 8 letters", "wanted 7 spaced phones"):
        assert figure in " ".join(said.split())
    right = sum(entry["answers"][0]["text"] in entry["right"] for entry in entries)
    assert epochs == 30 and right > 90 and figures["wer"] == pytest.approx(1 - right / 120)
    in_numpy = load_pronouncer(folder)
    exported = load_pronouncer(tmp_path / "run-export")
    for entry in entries[:40]:  # the same network, in a process without TensorFlow
        answers = in_numpy.answers([entry["source"]], count=5)[0]
        assert exported.answers([entry["source"]], count=5)[0] == answers
        assert [answer.text for answer in answers] == [answer["text"] for answer in entry["answers"]]
        probabilities = [answer["probability"] for answer in entry["answers"]]
        assert [answer.probability for answer in answers] == pytest.approx(probabilities, rel=1e-3)
    used(folder, entries, capsys, monkeypatch)
    inspected = inspect(folder, console=Console())
    assert inspected.facts["network"]["name"] == "transformer" and inspected.history[0].number == 1

    of_words = ("task", "word_to_ipa", "train_files", path, "checkpoint_dir")
    other = str(tmp_path / "other")
    said = refused(*of_words, other, "network", "conformer")
    assert "--network conformer: not with --task word_to_ipa" in said
    assert "--augment: not with --task word_to_ipa" in refused(*of_words, other, "augment", ["gain"])
    assert "--d_model 36: must be" in refused(*of_words, other, "d_model", 36, "heads", 8)
    (tmp_path / "more.tsv").write_text("xabc\tk\n", encoding="utf-8")
    said = refused("train_files", [path, tmp_path / "more.tsv"], "checkpoint_dir", folder)
    assert "more.tsv, row 1: " in said and "the checkpoint does not know: 'x'" in said


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(tmp_path):
    path = lexicon(tmp_path, 60)
    command = ["--task", "word_to_ipa", "--d_model", 16, "--layers", 1, "--train_files", path, "--epochs", 8]
    command += ["--train_batch_size", 8, "--checkpoint_secs", 1, "--dropout_rate", 0.2]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*command, "--checkpoint_dir", whole).code == 0
    for moment in ("in a step", "in a validation"):
        ended = kill_in(moment, killed, 1, *command, "--checkpoint_dir", killed)
        assert ended is None or ended.code == -signal.SIGKILL
    assert run(*command, "--checkpoint_dir", killed).code == 0
    for kind in ("train", "best"):
        assert run_state(killed, kind) == run_state(whole, kind)
        assert differing_arrays(killed, whole, kind) == []
    tested = run("--test_files", path, "--checkpoint_dir", whole, "--test_output_file", tmp_path / "out.json")
    assert tested.code == 0 and "WER" in tested.out
    entries = json.loads((tmp_path / "out.json").read_text())
    assert {"source", "right", "answers", "greedy", "loss"} <= entries[0].keys()
