"""The search for alpha and beta, on a clip that a model has memorised."""

import json

import numpy as np
import pytest
import soundfile
from models.small_models import golden_weights, save_checkpoint
from models.test_tflite import written

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.commands.main import run
from deepspeech_training.decoding.greedy import greedy_labels
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.runtime.model import Model
from deepspeech_training.scorer import optimize_clips
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.optimize_plot import Trial, plot_html
from deepspeech_training.scorer.package import TRAILER


@pytest.fixture
def model(test_data, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(written(golden_weights(test_data / "golden"), network=DeepSpeech(29, 100)))
    return path


@pytest.fixture
def search(model, test_data, tmp_path, capsys):
    """A function that makes a command line, for a scorer of the words of the clip."""
    folder, package = test_data / "ldc93s1", tmp_path / "my.scorer"
    made = [
        "--input_txt",
        folder / "vocab.txt",
        "--alphabet",
        folder / "alphabet.txt",
        "--package",
        package,
        "--default_alpha",
        4.9,
        "--default_beta",
        0,
    ]
    assert run("scorer build", list(map(str, made))) == 0
    capsys.readouterr()
    argv = [
        "--model",
        model,
        "--scorer",
        package,
        "--dev_files",
        folder / "ldc93s1.csv",
        "--folder",
        tmp_path / "kept",
        "--beam_width",
        50,
    ]
    return lambda *options: list(map(str, [*argv, *options]))


def test_the_probabilities_of_a_clip_are_those_of_a_stream(model, test_data):
    audio, _ = soundfile.read(test_data / "ldc93s1" / "LDC93S1.wav", dtype="int16")
    runtime = Model(model, num_threads=1)
    for length in (0, 1, 511, 512, 5000, len(audio)):
        probs = runtime.probabilities(audio[:length])
        labels = greedy_labels(np.log(probs + 1e-30), blank=28) if len(probs) else []
        assert runtime.file.text(labels) == runtime.stt(audio[:length])
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def wrong(*argv) -> int:
    return run("scorer tune", [str(word) for word in argv])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--dev_files"),
        (["--dev_files", "x.csv", "--n_trials", 0], "--n_trials 0"),
        (["--dev_files", "x.csv", "--lm_alpha_max", "nan"], "--lm_alpha_max nan"),
        (["--dev_files", "x.csv", "--beam_tolerance", -0.1], "--beam_tolerance -0.1"),
    ],
)
def test_wrong_options_are_found_before_the_work(options, said, capsys):
    assert wrong("--model", "none.tflite", "--scorer", "none.scorer", *options) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--beam_width", "10,x"], ["--beam_width", "0,10"], ["--beam_width", "-1"], ["--checkpoint_dir", "checkpoints"]],
)
def test_options_that_cannot_be_meant_are_refused(options, capsys):
    with pytest.raises(SystemExit) as caught:
        wrong("--model", "none.tflite", "--scorer", "none.scorer", "--dev_files", "dev.csv", *options)
    assert caught.value.code == 2 and options[0] in capsys.readouterr().err


def test_a_search_on_the_test_set_earns_a_warning(capsys):
    assert wrong("--model", "none.tflite", "--scorer", "none.scorer", "--test_files", "test.csv") == 1
    said = capsys.readouterr().err
    assert "no longer that of a test" in said and "none.scorer" in said


def test_the_plot_has_the_chosen_trial_and_no_markup_of_others():
    trials = [Trial(100, 0.5, 1.5, 0.4, 0.1), Trial(100, 0.75, 1.5, 0.2, 0.3, 2), Trial(100, 2.0, 1.5, 0.3)]
    chosen = trials[1]
    page = plot_html(trials, [chosen], chosen, "wer", "<b>my.scorer</b>")
    assert "lm_alpha 0.75, lm_beta 1.5, beam_width 100: WER 0.200000" in page and "<svg" in page and "<b>" not in page
    assert page == plot_html(trials, [chosen], chosen, "wer", "<b>my.scorer</b>") and "processor" not in page
    page = plot_html(trials, [Trial(10, 1.25, 2.5, 0.6, 0.5, 0.25), chosen], chosen, "cer", "my.scorer")
    assert "        10  0.600000  0.500000  1.250  2.500  0.250\n       100  0.200000  0.300000" in page


def test_rows_that_cannot_be_used_are_left_out(corpus, tmp_path):
    path = corpus(["one", "", "two"], name="dev.csv")
    (tmp_path / "dev_wavs" / "2.wav").unlink()
    jobs, faults = optimize_clips.usable_rows([path])
    assert [job[1] for job in jobs] == ["one"]
    assert ["row 3: the transcript is empty" in faults[0], "row 4: " in faults[1]] == [True, True]


@pytest.mark.slow
def test_a_search_goes_on_with_what_is_on_the_volume(search, tmp_path, capsys, monkeypatch):
    argv, package = search("--n_trials"), tmp_path / "my.scorer"
    assert run("scorer tune", [*argv, "2"]) == 0
    first = capsys.readouterr()
    assert "with alpha 4.9 and beta 0" in first.out and "the best of 2 trials" in first.out
    assert (tmp_path / "kept" / "my.html").read_text(encoding="utf-8").startswith("<!doctype html>")

    monkeypatch.setattr(Model, "probabilities", lambda *_: pytest.fail("the network ran again"))
    assert run("scorer tune", [*argv, "4", "--write"]) == 0
    second = capsys.readouterr()
    assert "2 trials are there" in second.err and "the best of 4 trials" in second.out
    alpha, beta, width = (float(word) for word in second.out.split()[-5::2])
    assert width == 50 and len(second.out.splitlines()) == 2
    data = package.read_bytes()
    assert TRAILER.unpack_from(data, trie_size(data, "it"))[3:] == pytest.approx((alpha, beta), rel=1e-5)

    assert (
        run("scorer tune", [*argv, "4"]) == 0
    )  # the key of the search does not depend on the weights that were written
    assert "4 trials are there" in capsys.readouterr().err
    for path in (tmp_path / "kept").glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
        path.write_text("damaged", encoding="utf-8")
    assert optimize_clips.kept_clips(path, path.with_suffix(".safetensors")) is None


@pytest.mark.slow
def test_each_beam_width_has_a_search_of_its_own_and_the_narrowest_good_one_is_named(search, tmp_path, capsys):
    argv = search("--metric", "cer", "--n_trials", 4, "--beam_width")
    assert run("scorer tune", [*argv, "40,1", "--beam_tolerance", "0"]) == 0
    first, header, *rows, chosen, flags = capsys.readouterr().out.splitlines()
    assert "at beam width 40: " in first and "alpha 4.9 and beta 0, " in first and "best of 4 trials" in first
    assert header.split()[:2] == ["beam", "width"] and [row.split()[0] for row in rows] == ["1", "40"]
    cers = [float(row.split()[2]) for row in rows]
    assert cers[0] > cers[1] and all(float(row.split()[-1]) > 0 for row in rows)
    assert flags.endswith(" --beam_width 40") and chosen.startswith("beam width 40 is the narrowest within 0 ")
    assert rows[0].split()[2] in (tmp_path / "kept" / "my.html").read_text(encoding="utf-8")

    assert run("scorer tune", [*argv, "1,20,40", "--beam_tolerance", "9"]) == 0  # what is there, and one width more
    again = capsys.readouterr()
    assert again.err.count("4 trials are there") == 2
    _, _, *more_rows, _, flags = again.out.splitlines()
    assert more_rows[::2] == rows and flags.endswith(" --beam_width 1")


@pytest.mark.slow
def test_a_checkpoint_serves_as_well_as_its_export(search, model, test_data, tmp_path, capsys):
    weights = golden_weights(test_data / "golden")
    network, features = DeepSpeech(29, 100), FeatureGeometry()
    saved = save_checkpoint(tmp_path / "run", weights, alphabet=Alphabet.english(), features=features, network=network)
    model.write_bytes(written(weights, network=network, quantize=False))
    argv = search("--n_trials", 2)
    assert run("scorer tune", argv) == 0
    of_export = capsys.readouterr().out
    argv[:2] = ["--checkpoint_dir", str(tmp_path / "run")]
    assert run("scorer tune", argv) == 0
    of_checkpoint = capsys.readouterr()
    assert of_checkpoint.out == of_export and f"Uses {saved}" in of_checkpoint.err

    saved.with_suffix(".safetensors").write_bytes(b"damaged")
    assert run("scorer tune", argv) == 1 and "safetensors" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    argv[1] = str(tmp_path / "empty")
    assert run("scorer tune", argv) == 1 and "there is no checkpoint" in capsys.readouterr().err
