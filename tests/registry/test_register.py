"""An export becomes a version: what its card says, what the gate decides, and that nothing is registered twice."""

import json
import shutil

import pytest
from models.small_models import golden_weights, save_checkpoint

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.commands.main import run as run_command
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.registry.writer import writing


def test_a_better_model_is_promoted_and_a_worse_one_registered_with_the_reason(registry, models, poor, good, test_csv):
    code, out, said = models("register", poor, "--name", "en", "--test_files", test_csv)
    assert (code, out) == (0, "en/1\n") and "no version was promoted before" in said
    code, out, said = models("register", good, "--name", "en", "--test_files", test_csv)
    assert (code, out) == (0, "en/2\n") and "en/2 is promoted: WER 0.0000 against 1" in said
    assert models("remove", "en/1")[0] == 0
    code, out, said = models("register", poor, "--name", "en", "--test_files", test_csv)
    assert (code, out) == (0, "en/3\n")
    assert "en/3 is registered, not promoted: WER 1" in said and "of version 2 on 12 clips: worse by +" in said
    assert "more than chance makes" in said and "deepspeech models promote en/3" in said
    assert registry.state("en").promoted == 2
    assert "worse by" in registry.state("en").why(3).why
    code, out, _ = models("list")
    assert [line[:6] for line in out.splitlines()[1:]] == ["* en/2", "  en/3"]


def test_a_promoted_version_that_was_not_tested_on_the_set_is_tested_then(models, poor, good, test_csv):
    models("register", good, "--name", "en")
    code, _, said = models("register", poor, "--name", "en", "--test_files", test_csv)
    assert code == 0 and "en/1 is promoted and was not tested on" in said and "not promoted: WER" in said


def test_the_card_keeps_what_the_test_set_was_like(registry, models, good, test_csv):
    models("register", good, "--name", "en", "--test_files", test_csv)
    profile = registry.version("en", 1).card()["profile"]
    assert profile["utterances"] == 12 and profile["csv"] == [test_csv]
    assert profile["statistics"]["empty"]["counts"] == [12, 0]
    assert "12 utterances of the test set: " in models("show", "en/1")[1]
    models("register", good, "--name", "other")
    assert "profile" not in registry.version("other", 1).card()
    assert "Profile" not in models("show", "other/1")[1]


def test_without_a_test_set_only_the_first_one_is_promoted(registry, models, poor, good):
    models("register", good, "--name", "en")
    code, _, said = models("register", poor, "--name", "en")
    assert code == 0 and "no --test_files to compare it with version 1 on" in said
    assert registry.state("en").promoted == 1


def test_promote_always_and_never(registry, models, poor, good):
    assert "--promote never" in models("register", good, "--name", "en", "--promote", "never")[2]
    assert registry.promoted("en") is None
    assert "--promote always" in models("register", poor, "--name", "en", "--promote", "always")[2]
    assert registry.state("en").promoted == 2
    assert "These files are en/1 already" in models("register", good, "--name", "en", "--promote", "always")[2]
    assert registry.state("en").promoted == 1


def test_the_same_files_are_registered_once(registry, models, good):
    models("register", good, "--name", "en")
    code, out, said = models("register", good, "--name", "en")
    assert (code, out) == (0, "en/1\n") and "These files are en/1 already" in said
    assert registry.numbers("en") == [1] and len(registry.state("en").history) == 1


def test_the_same_files_as_a_damaged_version_are_registered_anew(registry, models, good):
    models("register", good, "--name", "en")
    registry.version("en", 1).model_path.write_bytes(b"")
    code, out, _ = models("register", good, "--name", "en")
    assert (code, out) == (0, "en/2\n") and registry.state("en").promoted == 2


def test_what_a_kill_has_left_between_registration_and_promotion_is_completed(registry, models, good, console):
    with writing(registry, console) as writer:
        files = {"model.tflite": next(good.glob("*.tflite"))}
        writer.publish("en", files, {"tests": []})
    assert registry.promoted("en") is None
    assert models("register", good, "--name", "en")[:2] == (0, "en/1\n")
    assert registry.state("en").promoted == 1 and registry.numbers("en") == [1]


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_a_promoted_version_that_cannot_be_used_is_replaced(registry, models, poor, good, test_csv, how):
    models("register", good, "--name", "en")
    if how == "damaged":
        registry.version("en", 1).model_path.write_bytes(b"")
    else:
        shutil.rmtree(registry.version("en", 1).folder)
    code, out, said = models("register", poor, "--name", "en", "--test_files", test_csv)
    assert (code, out) == (0, "en/2\n") and "version 1 cannot be used" in said
    assert registry.state("en").promoted == 2


def test_a_scorer_belongs_to_the_version(registry, models, good, test_data, test_csv, compiled_beam):
    scorer = test_data / "ldc93s1" / "pruned_lm.scorer"
    models("register", good, "--name", "en")
    models("register", good, "--name", "en", "--scorer", scorer, "--test_files", test_csv)
    version = registry.version("en", 2)
    assert version.scorer_path.read_bytes() == scorer.read_bytes()
    assert version.card()["scorer"] == "pruned_lm.scorer" and "model.scorer" in version.card()["files"]
    assert registry.state("en").promoted == 2  # as good as the one without


@pytest.mark.parametrize(
    ("files", "said"), [([], "0 .tflite"), (["a.tflite", "b.tflite"], "2 .tflite"), (["a.tflite"], "a.tflite")]
)
def test_a_folder_that_is_no_export_is_refused(registry, models, tmp_path, files, said):
    (tmp_path / "out").mkdir()
    for name in files:
        (tmp_path / "out" / name).write_bytes(b"")
    code, _, heard = models("register", tmp_path / "out")
    assert code == 1 and said in heard and not registry.folder.exists()
    assert "no such folder" in models("register", tmp_path / "nowhere")[2]


def test_the_card_tells_where_the_model_comes_from(registry, models, tmp_path, test_data, test_csv, capsys):
    """A checkpoint of DeepSpeech's own weights, exported and registered by the command line."""
    folder, export = tmp_path / "checkpoint", tmp_path / "en-small"
    english = Alphabet.english()
    weights, network = golden_weights(test_data / "golden"), DeepSpeech(29, 100, relu_clip=20.0)
    save_checkpoint(folder, weights, alphabet=english, features=FeatureGeometry(), network=network)
    flags = ["--test_files", test_csv, "--export_language", "en-US"]
    assert run_command("export", ["--checkpoint_dir", str(folder), "--export_dir", str(export), *flags]) == 0
    capsys.readouterr()
    assert models("register", export, "--test_files", test_csv)[:2] == (0, "en-small/1\n")
    card = registry.version("en-small", 1).check()
    assert card["name"] == "en-small" and card["version"] == 1 and card["exported"]["language"] == "en-US"
    assert set(card["files"]) == {"model.tflite", "author_model_0.0.1.md", "parity.json", "test_results.json"}
    assert card["checkpoint"].endswith("best-000000001.json") and card["training"]["flags"]["learning_rate"] == 0.001
    assert card["model"]["weights"] == "int8" and card["parity"]["int8"]["exported"]
    assert card["parity"]["float32"]["greatest_probability_difference"]["from_equal_features"] < 1e-5
    assert card["tests"][0]["wer"] == {"value": 0.0, "low": 0.0, "high": 0.0} and card["tests"][0]["clips"] == 12
    assert card["diagnosis"]["verdict"]
    code, out, said = models("show", "en-small")
    assert code == 0 and "Parity     int8" in out and "Diagnosis" in out and "as they were registered" in said
    code, out, _ = models("show", "en-small/1", "--json")
    assert code == 0 and json.loads(out)["promoted"] is True
    code, _, said = models("register", export, "--name", "other", "--checkpoint_dir", tmp_path)
    assert code == 1 and "was made of best-000000001.json, which is not there" in said


def test_show_ends_with_1_for_a_damaged_model(registry, models, good):
    models("register", good, "--name", "en")
    registry.version("en", 1).model_path.write_bytes(b"x")
    code, out, said = models("show", "en")
    assert code == 1 and out.startswith("en/1: promoted") and "damaged or exchanged" in said
