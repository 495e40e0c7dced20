"""A checkpoint of words -> one file that numpy alone reads: equal to the checkpoint, and never trusted."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from models.small_words import (
    LETTERS_GIVEN,
    LSTM,
    PHONES_WRITTEN,
    TRANSFORMER,
    exported_words,
    random_word_weights,
    save_words_checkpoint,
)

from deepspeech_training.array_file import packed, unpacked
from deepspeech_training.commands.main import main
from deepspeech_training.data.spelling import LETTERS, Spelling
from deepspeech_training.exporting import pronunciation
from deepspeech_training.runtime import ModelError
from deepspeech_training.runtime.model_files import read_model_file
from deepspeech_training.runtime.pronouncer import Pronouncer
from deepspeech_training.runtime.pronunciation_file import PronunciationFile

WORDS = ["abc", "ge", "f", "gfedcba", "aabb"]


@pytest.fixture(params=[TRANSFORMER, LSTM], ids=lambda network: network.name)
def network(request):
    return request.param


@pytest.fixture
def folder(tmp_path, network):
    save_words_checkpoint(tmp_path / "run", network)
    (tmp_path / "test.tsv").write_text("".join(f"{word}\tb iː\n" for word in WORDS), encoding="utf-8")
    return tmp_path


def test_the_exported_model_answers_as_the_checkpoint_does(folder, network, capsys):
    flags = ["--checkpoint_dir", folder / "run", "--export_dir", folder / "out", "--export_language", "en"]
    flags += ["--test_files", folder / "test.tsv", "--noexport_quantize"]
    assert main(["export", *map(str, flags)]) == 0
    assert sorted(os.listdir(folder / "out")) == ["author_model_0.0.1.md", "output_graph.g2p", "parity.json"]
    assert "runtime: numpy" in (folder / "out/author_model_0.0.1.md").read_text()
    report = json.loads((folder / "out/parity.json").read_text())
    found = report["models"]["float32"]
    assert found["exported"] and found["n_best_lists_that_differ"] == [] and report["words"] == WORDS
    assert found["greatest_log_probability_difference"] <= 1e-4 and found["wer"] == report["checkpoint_wer"]
    file = read_model_file(folder / "out/output_graph.g2p")
    assert (file.task, file.kind, file.language, file.network) == ("word_to_ipa", "float32", "en", network)
    capsys.readouterr()
    said = []
    for model in ("run", "out", "out/output_graph.g2p"):
        assert main(["g2p", "--model", str(folder / model), "--count", "3", *WORDS]) == 0
        said.append(capsys.readouterr().out)
    assert len(said[0].splitlines()) == 15 and said[0] == said[1] == said[2]
    assert main(["g2p", "--model", str(folder / "run"), "--model", str(folder / "out"), *WORDS]) == 0
    assert capsys.readouterr().out.splitlines() == [line.rpartition("\t")[0] for line in said[0].splitlines()[::3]]
    other = Spelling(LETTERS, tuple("abcdefh"))
    (folder / "other.g2p").write_bytes(exported_words(network, source=other))
    assert main(["g2p", "--model", str(folder / "out"), "--model", str(folder / "other.g2p"), "abc"]) == 1
    assert "other.g2p: it was trained with other symbols" in capsys.readouterr().err
    assert main(["inspect", str(folder / "out")]) == 0
    told = capsys.readouterr().out
    assert "output_graph.g2p: export, word_to_ipa, float32" in told and f", {network.name}, num_classes 7" in told
    assert "Classes   6: eɪ b tʃ d iː f" in told
    assert main(["export", *map(str, flags)]) == 2 and "exported there already" in capsys.readouterr().err
    assert main(["export", *map(str, flags[:4]), "--remove_export"]) == 0
    assert read_model_file(folder / "out/output_graph.g2p").kind == "int8"


def test_weights_of_8_bits_take_a_quarter_and_mean_almost_the_same(network):
    weights, large, small = (
        random_word_weights(network),
        exported_words(network),
        exported_words(network, quantize=True),
    )
    assert len(small) < 0.5 * len(large)  # of so small a network the header is the most
    file = PronunciationFile.of_bytes(small, "small.g2p")
    for name, array in weights.items():
        assert np.abs(file.weights[name] - array).max() <= np.abs(array).max() / 127 / 2 + 1e-7
    exact = PronunciationFile.of_bytes(large, "large.g2p")
    assert all(np.array_equal(exact.weights[name], array) for name, array in weights.items())


def test_an_export_that_answers_otherwise_is_not_written(folder, network, monkeypatch, capsys):
    def spoilt(weights, **said):
        return original({name: array + 0.01 for name, array in weights.items()}, **said)

    original = pronunciation.write_pronunciation
    monkeypatch.setattr(pronunciation, "write_pronunciation", spoilt)
    flags = ["--checkpoint_dir", folder / "run", "--export_dir", folder / "out"]
    assert main(["export", *map(str, flags)]) == 1 and not (folder / "out").exists()
    assert "nothing was exported" in capsys.readouterr().err


def test_it_runs_where_tensorflow_keras_and_litert_are_missing(tmp_path):
    (tmp_path / "words.g2p").write_bytes(exported_words())
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'ai_edge_litert', 'flatbuffers'): sys.modules[name] = None\n"
        "from deepspeech_training.commands.main import main\n"
        "sys.exit(main(['g2p', '--model', sys.argv[1], 'abc']))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "words.g2p")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("abc\t"), done.stderr


def changed(**fields) -> bytes:
    """An exported model whose description says something else."""
    arrays, metadata = unpacked(exported_words())
    said = json.loads(metadata["deepspeech"])
    said |= {name: value for name, value in fields.items() if name in said}
    said["network"] |= {name: value for name, value in fields.items() if name not in said}
    return b"".join(packed(arrays, {"deepspeech": json.dumps(said)}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too few"),
        (exported_words()[:3000], "outside the file|header"),
        (b"\xff" * 64, "header"),
        (b"".join(packed(random_word_weights(LSTM))), "does not say what it is"),
        (changed(format=2), "later version"),
        (changed(task="speech_to_text"), "of the task 'speech_to_text'"),
        (changed(layers=10**9), "layers 1000000000"),
        (changed(d_model=8192), "weights, and the file"),
        (changed(d_model=True), "d_model True"),
        (changed(heads=3), "multiple of the 3 heads"),
        (changed(layers=3), "encoder_3"),
        (changed(name="conformer"), "'conformer' is no network of words"),
        (changed(source={"kind": "letters", "symbols": ["a"]}), "takes 9 and gives 7"),
        (changed(target={"kind": "letters", "symbols": ["a", "a"]}), "twice"),
        (changed(source={"kind": "letters", "symbols": list(range(7))}), "no text"),
        (changed(source={"kind": "letters", "symbols": []}), "no list of 1 to"),
        (changed(source=7), "damaged or of another kind"),
    ],
)
def test_a_file_that_is_no_model_of_words_is_refused(tmp_path, data, message):
    (tmp_path / "words.g2p").write_bytes(data)
    with pytest.raises(ModelError, match=message) as error:
        read_model_file(tmp_path / "words.g2p")
    assert "words.g2p: " in str(error.value)


def test_weights_that_are_not_finite_or_of_another_kind_are_refused():
    arrays, metadata = unpacked(exported_words(quantize=True))
    for name, value, message in (
        ("output/bias", np.full(7, np.nan, np.float32), "not finite"),
        ("output/bias", np.zeros(7), "output/bias is float64"),
        ("output/weights/scale", np.ones(3, np.float32), "no scales that fit"),
        ("output/bias", np.zeros(8, np.float32), r"shape \(8,\), not \(7,\)"),
    ):
        data = b"".join(packed({**arrays, name: value}, metadata))
        with pytest.raises(ModelError, match=message):
            PronunciationFile.of_bytes(data, "words.g2p")


def test_a_file_is_read_as_it_was_written():
    file = PronunciationFile.of_bytes(exported_words(), "words.g2p")
    assert (file.source, file.target) == (LETTERS_GIVEN, PHONES_WRITTEN)
    alone = Pronouncer.of(TRANSFORMER, random_word_weights(TRANSFORMER), LETTERS_GIVEN, PHONES_WRITTEN)
    assert file.pronouncer().answers(WORDS, count=3) == alone.answers(WORDS, count=3)
