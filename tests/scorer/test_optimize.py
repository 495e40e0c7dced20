"""The search for alpha and beta, on a clip that a model knows by heart."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from export.models import golden_weights, save_checkpoint
from export.test_writer import written

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.decoding.greedy import greedy_labels
from deepspeech_training.features_geometry import FeatureGeometry
from deepspeech_training.inference.model import Model
from deepspeech_training.inference.posteriors import Posteriors
from deepspeech_training.network_geometry import NetworkGeometry
from deepspeech_training.scorer import optimize, optimize_clips
from deepspeech_training.scorer.build import build_scorer_main
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.optimize_plot import Rung, plot_html
from deepspeech_training.scorer.package import TRAILER


@pytest.fixture
def model(test_data, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(written(golden_weights(test_data / "golden"), network=NetworkGeometry(29, 100)))
    return path


@pytest.fixture
def search(model, test_data, tmp_path, capsys):
    """A function that makes a command line, for a scorer of the words of the clip."""
    folder, package = test_data / "ldc93s1", tmp_path / "my.scorer"
    made = ["--input_txt", folder / "vocab.txt", "--alphabet", folder / "alphabet.txt", "--package", package,
            "--default_alpha", 4.9, "--default_beta", 0]  # fmt: skip
    assert build_scorer_main(list(map(str, made))) == 0
    capsys.readouterr()
    argv = ["--model", model, "--scorer", package, "--dev_files", folder / "ldc93s1.csv", "--folder", tmp_path / "kept",
            "--beam_width", 50]  # fmt: skip
    return lambda *options: list(map(str, [*argv, *options]))


def test_the_probabilities_of_a_clip_are_those_of_a_stream(model, test_data):
    audio, _ = soundfile.read(test_data / "ldc93s1" / "LDC93S1.wav", dtype="int16")
    posteriors, runtime = Posteriors(model, num_threads=1), Model(str(model), num_threads=1)
    for length in (0, 1, 511, 512, 5000, len(audio)):
        probs = posteriors(audio[:length])
        labels = greedy_labels(np.log(probs + 1e-30), blank=28) if len(probs) else []
        assert "".join(posteriors.file.labels[label] for label in labels) == runtime.stt(audio[:length])
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def wrong(*argv) -> int:
    return optimize.main([str(word) for word in argv])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--dev_files"), (["--dev_files", "x.csv", "--n_trials", 0], "--n_trials 0"),
        (["--dev_files", "x.csv", "--lm_alpha_max", "nan"], "--lm_alpha_max nan"),
        (["--dev_files", "x.csv", "--beam_width", -1], "--beam_width -1"),
        (["--dev_files", "x.csv", "--beam_tolerance", -0.1], "--beam_tolerance -0.1"),
    ],
)  # fmt: skip
def test_wrong_options_are_found_before_the_work(options, said, capsys):
    assert wrong("--model", "none.tflite", "--scorer", "none.scorer", *options) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--beam_widths", "10,x"], ["--beam_widths", "0,10"], ["--checkpoint_dir", "checkpoints"]]
)
def test_options_that_cannot_be_meant_are_refused(options, capsys):
    with pytest.raises(SystemExit) as caught:
        wrong("--model", "none.tflite", "--scorer", "none.scorer", "--dev_files", "dev.csv", *options)
    assert caught.value.code == 2 and options[0] in capsys.readouterr().err


def test_a_search_on_the_test_set_earns_a_warning(capsys):
    assert wrong("--model", "none.tflite", "--scorer", "none.scorer", "--test_files", "test.csv") == 1
    said = capsys.readouterr().err
    assert "no longer that of a test" in said and "none.scorer" in said


def test_the_plot_has_the_best_trial_and_no_markup_of_others():
    trials = [
        SimpleNamespace(params={"lm_alpha": alpha, "lm_beta": 1.5}, value=value)
        for alpha, value in ((0.5, 0.4), (0.75, 0.2), (2.0, 0.3))
    ]
    page = plot_html(trials, "wer", "<b>my.scorer</b>")
    assert "lm_alpha 0.75, lm_beta 1.5: WER 0.200000" in page and "<svg" in page and "<b>" not in page
    assert page == plot_html(trials, "wer", "<b>my.scorer</b>") and "beam" not in page
    ladder = [Rung(10, 0.3, 0.1, 0.02), Rung(500, 0.2, 0.05, 0.9)]
    page = plot_html(trials, "wer", "my.scorer", ladder=ladder, chosen=500)
    assert "500  0.200000  0.050000  0.900 (chosen)" in page and page.count("(chosen)") == 1


def test_rows_that_cannot_be_used_are_left_out(corpus, tmp_path):
    path = corpus(["one", "", "two"], name="dev.csv")
    (tmp_path / "dev_wavs" / "2.wav").unlink()
    jobs, faults = optimize_clips.usable_rows([path])
    assert [job[1] for job in jobs] == ["one"]
    assert ["row 3: the transcript is empty" in faults[0], "row 4: " in faults[1]] == [True, True]


@pytest.mark.slow
def test_a_search_goes_on_with_what_is_on_the_volume(search, tmp_path, capsys, monkeypatch):
    argv, package = search("--n_trials"), tmp_path / "my.scorer"
    assert optimize.main([*argv, "2"]) == 0
    first = capsys.readouterr()
    assert "with alpha 4.9 and beta 0" in first.out and "the best of 2 trials" in first.out
    assert (tmp_path / "kept" / "my.html").read_text(encoding="utf-8").startswith("<!doctype html>")

    monkeypatch.setattr(Posteriors, "__call__", lambda *_: pytest.fail("the network ran again"))
    assert optimize.main([*argv, "4", "--write"]) == 0
    second = capsys.readouterr()
    assert "2 trials are there" in second.err and "the best of 4 trials" in second.out
    alpha, beta = (float(word) for word in second.out.split()[-3::2])
    assert "beam_width" not in second.out and "beam" not in (tmp_path / "kept" / "my.html").read_text(encoding="utf-8")
    data = package.read_bytes()
    assert TRAILER.unpack_from(data, trie_size(data, "it"))[3:] == pytest.approx((alpha, beta), rel=1e-5)

    assert optimize.main([*argv, "4"]) == 0  # the key of the search does not depend on the weights that were written
    assert "4 trials are there" in capsys.readouterr().err
    for path in (tmp_path / "kept").glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
        path.write_text("damaged", encoding="utf-8")
    assert optimize_clips.kept_clips(path, path.with_suffix(".safetensors")) is None


@pytest.mark.slow
def test_beam_widths_are_tried_once_and_the_narrowest_good_one_is_named(search, tmp_path, capsys, monkeypatch):
    argv = [*search("--n_trials", 2, "--metric", "cer"), "--beam_widths"]
    assert optimize.main([*argv, "1,40"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[2:4]] == ["1", "40"]
    rungs = [Rung(int(width), *map(float, rest)) for width, *rest in (line.split() for line in said[2:4])]
    assert all(rung.cost > 0 for rung in rungs) and rungs[0].cer > rungs[1].cer + 0.001
    assert said[-1].endswith(" --beam_width 40") and "beam width 40 is the narrowest within 0.001" in said[-2]
    assert "(chosen)" in (tmp_path / "kept" / "my.html").read_text(encoding="utf-8")

    tried, decode = [], optimize.Decoding.__call__
    monkeypatch.setattr(
        optimize.Decoding, "__call__", lambda self, width, *rest: tried.append(width) or decode(self, width, *rest)
    )
    assert optimize.main([*argv, "40,1,60"]) == 0  # goes on: without a scorer, and the one width that is new
    assert tried == [50, 60] and capsys.readouterr().out.splitlines()[2:4] == said[2:4]
    assert optimize.main([*argv, "1,40", "--beam_tolerance", "9"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" --beam_width 1")


@pytest.mark.slow
def test_a_checkpoint_serves_as_well_as_its_export(search, model, test_data, tmp_path, capsys):
    weights = golden_weights(test_data / "golden")
    network, features = NetworkGeometry(29, 100), FeatureGeometry()
    saved = save_checkpoint(tmp_path / "run", weights, alphabet=Alphabet.english(), features=features, network=network)
    model.write_bytes(written(weights, network=network, quantize=False))
    argv = search("--n_trials", 2)
    assert optimize.main(argv) == 0
    of_export = capsys.readouterr().out
    argv[:2] = ["--checkpoint_dir", str(tmp_path / "run")]
    assert optimize.main(argv) == 0
    of_checkpoint = capsys.readouterr()
    assert of_checkpoint.out == of_export and f"Uses {saved}" in of_checkpoint.err

    saved.with_suffix(".safetensors").write_bytes(b"damaged")
    assert optimize.main(argv) == 1 and "safetensors" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    argv[1] = str(tmp_path / "empty")
    assert optimize.main(argv) == 1 and "there is no checkpoint" in capsys.readouterr().err
