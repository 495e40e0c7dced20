"""`deepspeech app` with spoken commands: yes, no, up and down are trained at the first start, and then answered."""

import csv
from pathlib import Path

import httpx
import pytest

from deepspeech_training.registry.store import Registry

LABELS = ("yes", "no", "up", "down")
FLAGS = "--mode cpu --filters 32 --train_batch_size 16 --epochs 16 --learning_rate 0.006 --warmup_epochs 1 --ema 0.98"


def write(folder: Path, data: Path, name: str, speakers: slice, *, of: str) -> list[tuple[str, str]]:
    """A CSV of half of the clips of some speakers; -> path and label of each."""
    with open(data / of, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["transcript"] in (*LABELS, "left", "stop")]
    chosen = sorted({row["speaker"] for row in rows})[speakers]
    rows = [row for row in rows if row["speaker"] in chosen][::2]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("wav_filename", "wav_filesize", "label", "speaker"))
        for row in rows:
            clip = data / row["wav_filename"]
            writer.writerow((clip, clip.stat().st_size, row["transcript"], row["speaker"]))
    return [(str(data / row["wav_filename"]), row["transcript"]) for row in rows]


@pytest.mark.slow
def test_commands_of_some_speakers_are_trained_on_registered_and_answered_for_others(start_app, test_data, tmp_path):
    data, mine = test_data / "commands", tmp_path / "corpora" / "mine"
    write(mine, data, "train.csv", slice(0, 12), of="train_labels.csv")
    write(mine, data, "dev.csv", slice(12, 14), of="train_labels.csv")
    unheard = write(mine, data, "test.csv", slice(0, 3), of="dev_labels.csv")
    noise = data / "_background_noise_"
    words = f"--task spoken_command --labels {','.join(LABELS)} --silence_noise {noise} {FLAGS}"
    app = start_app("--data", tmp_path, environment={"TRAIN_FLAGS": words})
    app.until_ready()
    app.until_phase("serving")
    right = []
    with httpx.Client(base_url=app.url, timeout=60) as http:
        facts = http.get("/v1/models/speech").json()["facts"]
        for path, label in unheard:
            best = http.post("/v1/audio/classifications?top_k=1", content=Path(path).read_bytes()).json()[0]
            right.append(best["label"] == (label if label in LABELS else "_unknown_"))
    accuracy = sum(right) / len(right)
    assert facts["task"] == "spoken_command" and facts["commands"] == list(LABELS)
    assert accuracy > 0.6, "of speakers that were never heard"
    assert facts["accuracy"] == pytest.approx(accuracy, abs=0.05)
    assert facts["measured_on"] == f"{len(right)} clips of the test set"
    card = Registry(tmp_path / "models").version("speech", 1).card()
    assert card["tests"][0]["clips"] == len(right) and "profile" not in card
    assert app.end() == 0
