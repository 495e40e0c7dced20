"""The folder of a model for the Hugging Face hub, and its upload to a hub on this machine."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from models.small_models import random_model

from deepspeech_training.commands.main import main


def card_of(folder: Path) -> tuple[dict, str]:
    """The fields and the text of the README."""
    _, fields, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(fields), text


def test_the_folder_has_the_model_and_a_card_with_figures_that_were_measured_now(publish, export, test_csv, tmp_path):
    code, out, said = publish("model", tmp_path / "hub", "--model", export, "--test_files", test_csv, "--proc", 1)
    assert (code, out) == (0, f"{tmp_path / 'hub'}\n") and "No figures" not in said
    names = sorted(path.name for path in (tmp_path / "hub").iterdir())
    assert names == [".gitattributes", "README.md", "output_graph.tflite", "parity.json"]
    assert (tmp_path / "hub/output_graph.tflite").read_bytes() == (export / "output_graph.tflite").read_bytes()
    fields, text = card_of(tmp_path / "hub")
    assert fields["language"] == ["en"] and fields["license"] == "mpl-2.0"
    assert fields["pipeline_tag"] == "automatic-speech-recognition" and fields["metrics"] == ["wer", "cer"]
    (result,) = fields["model-index"][0]["results"]
    assert result["dataset"]["name"] == "greasy.csv, 1 clips"
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [("wer", 0.0), ("cer", 0.0)]
    assert "# suit\n\nIt knows one sentence." in text and "162,300" in text
    assert "| greasy.csv | 1 |  | 0.00 (0.00 to 0.00) |" in text and "so few clips" in text
    assert "deepspeech --model output_graph.tflite --audio recording.wav" in text
    assert "stt --model output_graph.tflite --audio" in text and "deepspeech serve --model output_graph.tflite" in text
    assert str(tmp_path) not in text  # nothing of this machine


def test_a_registered_model_brings_its_figures_and_the_clips_are_not_published(publish, export, test_csv, tmp_path):
    registry = tmp_path / "models"
    words = ["models", "register", str(export), "--name", "en", "--test_files", str(test_csv), "--dir", str(registry)]
    assert main(words) == 0
    for number, model in enumerate((registry / "en", registry / "en" / "1")):
        code, _, said = publish("model", tmp_path / f"hub{number}", "--model", model, "--title", "One | sentence")
        assert code == 0 and "No figures" not in said
        fields, text = card_of(tmp_path / f"hub{number}")
        assert fields["model-index"][0]["name"] == "One | sentence" and "# One | sentence" in text
        assert "| greasy.csv | 1 |" in text
        files = {path.name: path for path in (tmp_path / f"hub{number}").iterdir()}
        assert set(files) == {".gitattributes", "README.md", "model.tflite", "parity.json"}
        assert json.loads(files["parity.json"].read_text())["models"] == {"float32": {"exported": True, "wer": 0.0}}


def test_what_is_not_known_is_said_and_left_out(publish, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/model.tflite").write_bytes(random_model())
    code, _, said = publish("model", tmp_path / "hub", "--model", tmp_path / "plain")
    assert code == 0
    assert "No licence is known" in said and "No language is known" in said and "No figures are known" in said
    fields, text = card_of(tmp_path / "hub")
    assert "license" not in fields and "language" not in fields and "model-index" not in fields
    assert "Not measured on a test set." in text and "## Licence" not in text


def test_files_that_are_there_are_replaced_only_when_asked(publish, export, tmp_path):
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "README.md").write_text("mine")
    (hub / "notes.txt").write_text("mine too")
    code, _, said = publish("model", hub, "--model", export)
    assert code == 2 and "README.md already" in said and "--replace" in said
    assert (hub / "README.md").read_text() == "mine"
    assert publish("model", hub, "--model", export, "--replace")[0] == 0
    assert "suit" in (hub / "README.md").read_text() and (hub / "notes.txt").read_text() == "mine too"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--language", "English"], "--language"),
        (["--upload", "just-a-name"], "OWNER/NAME"),
        (["--private"], "--upload"),
    ],
)
def test_flags_that_cannot_be_are_refused_before_any_work(publish, export, tmp_path, words, says):
    code, _, said = publish("model", tmp_path / "hub", "--model", export, *words)
    assert code == 2 and says in said and not (tmp_path / "hub").exists()


def test_a_folder_without_a_model_is_refused(publish, tmp_path):
    code, _, said = publish("model", tmp_path / "hub", "--model", tmp_path)
    assert code == 1 and "0 .tflite" in said and not (tmp_path / "hub").exists()


def test_without_the_library_the_upload_says_what_to_install(publish, export, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, said = publish("model", tmp_path / "hub", "--model", export, "--upload", "me/suit")
    assert code == 1 and "pip install huggingface_hub" in said and not (tmp_path / "hub").exists()


def test_the_upload_makes_the_repository_and_has_every_file(publish_there, hub, export, tmp_path):
    done = publish_there("model", "out", "--model", export, "--upload", "me/suit", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/me/suit\n"
    assert hub.created[0]["visibility"] == "private"
    folder = tmp_path / "out"
    assert hub.repositories == {"model me/suit": {path.name: path.read_bytes() for path in folder.iterdir()}}
    assert "hf download me/suit" in (folder / "README.md").read_text()


def test_what_the_hub_refuses_is_said_and_the_folder_stays(publish_there, export, tmp_path):
    done = publish_there("model", "none", "--model", export, "--upload", "me/suit", token=None)
    assert done.returncode == 1 and "HF_TOKEN" in done.stderr and not (tmp_path / "none").exists()
    done = publish_there("model", "out", "--model", export, "--upload", "forbidden/suit")
    assert done.returncode == 1 and "namespace forbidden" in done.stderr and "Traceback" not in done.stderr
    assert "complete" in done.stderr and (tmp_path / "out/README.md").exists()
