"""The status page in a real Chromium: while a training runs, after it, and where something has failed."""

import io
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import soundfile
from app.app_process import FLAGS, make_volume, run_folder
from reporting.test_sessions import write as write_session
from serving import chromium
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deepspeech_training.app.clips import MOST_CLIP_S, Clips
from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.session_list import SessionList
from deepspeech_training.app.status import Status
from deepspeech_training.machine.resources import Gpu
from deepspeech_training.reporting.validated import ValidatedClips
from deepspeech_training.serving.app import refused
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.metrics import Metrics

LONG = (*FLAGS[:-1], "--dropout_rate 0", "--epochs 600")


@pytest.fixture(scope="module")
def browser():
    with chromium.driven() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def nvml(tmp_path_factory):
    """The folder of a library with NVML's names, which reports one GPU."""
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).parents[1] / "machine" / "fake_nvml.c"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler to make an NVML of; the GPU itself is not needed")
    return folder


def add_a_run_of_another_size(volume: Path) -> None:
    """Another training beside the one that runs, as it would have left its log."""
    (log,) = (run_folder(volume) / "logs").glob("session_*.json")
    values = json.loads(log.read_text(encoding="utf-8"))
    values |= {"id": "20200101_000000", "run": "20200101_000000", "status": "done", "started": 1.5e9, "ended": 1.5e9}
    values["flags"] |= {"n_hidden": 64}
    folder = volume / "checkpoints" / "earlier" / "logs"
    folder.mkdir(parents=True)
    said = (run_folder(volume) / "events.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [line for line in said if '"event": "epoch"' in line]
    (folder.parent / "events.jsonl").write_text("\n".join([said[0], *epochs[:2], ""]), encoding="utf-8")
    (folder / "session_20200101_000000.json").write_text(json.dumps(values), encoding="utf-8")


def epochs_of_table(page) -> int:
    return page.locator("#epoch-rows tr").count()


def test_a_failure_is_seen_then_the_training_live_and_its_values_are_read_off_its_curves(
    start_app, browser, nvml, tmp_path
):
    csv = tmp_path / "corpora" / "tiny" / "train.csv"
    volume = make_volume(tmp_path, flags=("--n_hiden 3",))
    gpu = {"LD_LIBRARY_PATH": str(nvml), "FAKE_GPUS": "1"}
    app = start_app("--data", volume, environment={"DEEPSPEECH_API_KEY": "open-12345", **gpu})
    assert httpx.get(f"{app.url}/v1/status", timeout=30).status_code == 401
    with chromium.visit(browser, f"{app.url}/status") as visitor:
        page = visitor.page
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key", "open-12345")
        page.click("#key-form button.main")
        told = visitor.ready().notice("failure")
        assert "did you mean --n_hidden" in told and "tried again when files change, and in" in told
        assert page.locator("#phase").inner_text() == "Failed"
        assert page.locator("#curves").is_hidden()
        gpu = page.locator(".gpu").inner_text()
        assert "GPU 0: NVIDIA Fake 0" in gpu and "42 %" in gpu
        assert "61 °C, 232 W of 450 W" in gpu and "1.1 GB of 25.8 GB" in gpu

        csv.write_text(csv.read_text(encoding="utf-8") + "missing.wav,1000,she had\n", encoding="utf-8")
        (volume / "train.flags").write_text(
            "\n".join([*LONG, f"--dev_files {csv}", "--on_bad_row drop"]), encoding="utf-8"
        )
        page.wait_for_selector("#chart-rates .curve", state="attached")  # a flat one has no height to be seen
        visitor.until("document.getElementById('phase').textContent === 'Training'")
        assert page.locator("#notices").inner_text() == "" and page.locator("#run-state").is_hidden()
        assert re.search(r"\d+ of 600\s+epoch", page.locator("#figures").inner_text())
        assert 0 <= int(page.locator("#bar").get_attribute("aria-valuenow")) <= 100
        assert "6" in page.locator("#data").inner_text() and "train" in page.locator("#data").inner_text()
        assert "cores to use" in page.locator("#machine").inner_text()
        assert "train loss" in page.locator("#log").inner_text()

        seen = epochs_of_table(page)
        visitor.until(f"document.querySelectorAll('#epoch-rows tr').length > {seen}")  # it is live

        chart = page.locator("#chart-loss svg")
        chart.press("Home")
        said = chart.get_attribute("aria-valuetext")
        history = app.status["run"]["history"]
        assert said.startswith("Epoch 1") and f"train {history[0]['train_loss']:.3g}" in said and "dev" in said
        chart.press("ArrowRight")
        assert chart.get_attribute("aria-valuenow") == "2"
        box = chart.bounding_box()
        page.mouse.move(box["x"] + 60, box["y"] + 60)
        assert page.locator("#chart-loss .readout").inner_text().startswith("epoch ")
        assert page.locator("#chart-loss .best").count() == 1

        page.wait_for_selector("#clip-list .clips li")
        assert {"Best", "Median", "Worst"} <= set(page.locator("#clip-list h3").all_inner_texts())
        assert "6 clips" in page.locator("#clips-of").inner_text()
        assert "left out" in page.locator("#rejected").inner_text()
        page.click("summary:has-text('Rows and reasons')")
        assert "row 8: the file does not exist" in page.locator("#rejected").inner_text()

        add_a_run_of_another_size(volume)
        page.wait_for_selector("#session-rows tr >> nth=1")
        for place in (0, 1):
            page.check(f"#session-rows input >> nth={place}")
        page.wait_for_selector("#compared-charts figure[data-title='Dev loss'] path.curve-1")
        assert "--n_hidden" in page.locator("#session-head").inner_text()
        assert page.locator("#differs-rows tr").all_inner_texts() == ["--n_hidden\t32\t64"]

        page.select_option("#choice", "earlier")
        visitor.until("document.getElementById('run-state').textContent.startsWith('earlier: ended')")
        assert page.locator("#run-state").is_visible() and epochs_of_table(page) == 2
        visitor.until("document.getElementById('clips').hidden")  # it has left none
        assert page.locator("#phase").inner_text() == "Training"
        page.select_option("#choice", "")
        visitor.until("document.querySelectorAll('#epoch-rows tr').length > 2")

        page.click("text=Speech to text")
        page.wait_for_selector("#record")
        page.click("text=Training status")
        visitor.ready().page.wait_for_selector("#chart-loss .curve")
    new = app.get(f"/v1/status?epochs_from={history[-1]['epoch']}").json()["run"]["history"]
    assert new[0] == history[-1] and len(new) < len(app.status["run"]["history"])
    assert app.get("/v1/status?epochs_from=x").status_code == 400
    assert app.end() == 0


@pytest.fixture
def listed(tmp_path):
    """An app's routes for clips, and a run whose last validation has two of them: a WAV and a text."""
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(8000) / 9), 16000)
    (tmp_path / "b.txt").write_text("no sound", encoding="utf-8")
    clips = ValidatedClips()
    samples = [SimpleNamespace(path=str(tmp_path / name), content="she had") for name in ("a.wav", "b.txt", "gone.wav")]
    clips.add(samples, [1.0, 2.0, 3.0], ["she had", "she", ""])
    clips.write(tmp_path, epoch=2)
    (tmp_path / "events.jsonl").write_text("", encoding="utf-8")
    status = Status(MachineFacts(tmp_path), RunChoice(tmp_path))
    app = Starlette(routes=Clips(status).routes(), exception_handlers={ServingError: refused})
    app.state.service = SimpleNamespace(metrics=Metrics())
    return TestClient(app)


def test_only_the_sound_of_a_clip_of_the_list_can_be_had(listed, tmp_path):
    found = listed.get("/v1/status/clips").json()
    assert [Path(clip["wav_filename"]).name for clip in found["clips"]] == ["a.wav", "b.txt", "gone.wav"]
    answer = listed.get("/v1/status/clips/0?epoch=2")
    sound, rate = soundfile.read(io.BytesIO(answer.content))
    original, _ = soundfile.read(tmp_path / "a.wav")
    assert answer.headers["content-type"] == "audio/wav" and rate == 16000
    assert np.allclose(sound, original, atol=1e-4)
    paths = {
        "1?epoch=2": 404,
        "2?epoch=2": 404,
        "3?epoch=2": 404,
        "0?epoch=1": 404,
        "0": 400,
        "..%2Fa.wav?epoch=2": 404,
    }
    assert {path: listed.get(f"/v1/status/clips/{path}").status_code for path in paths} == paths
    named = f"/v1/status/clips?run={tmp_path.name}"
    assert listed.get(named).json() == found and listed.get("/v1/status/clips?run=..").status_code == 404
    assert listed.get("/v1/status/rejected").json() == {"count": 0, "reasons": {}, "rows": []}


def test_a_clip_that_is_too_long_is_refused(listed, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(MOST_CLIP_S * 8000 + 8000, np.int16), 8000)
    assert listed.get("/v1/status/clips/0?epoch=2").status_code == 413


def test_trainings_are_listed_and_compared_by_their_logs(tmp_path):
    client = TestClient(Starlette(routes=SessionList(tmp_path).routes(), exception_handlers={ServingError: refused}))
    client.app.state.service = SimpleNamespace(metrics=Metrics())
    assert client.get("/v1/status/sessions").json()["runs"] == []
    epochs = [(0, 9, 1.0), (1, 8, 0.5)]
    write_session(tmp_path / "a", "20260101_000000", epochs=epochs)
    write_session(tmp_path / "a", "20260101_000001", work=["test"])
    write_session(tmp_path / "b", "20260101_000000", epochs=epochs[:1], flags={"epochs": 5, "dropout_rate": 0.2})
    (tmp_path / "b" / "logs" / "session_1.json").write_text("{}", encoding="utf-8")
    found = client.get("/v1/status/sessions").json()
    assert [(run["key"], run["epochs"]) for run in found["runs"]] == [
        ("a/20260101_000000", 2),
        ("b/20260101_000000", 1),
    ]
    assert found["runs"][0]["best"] == {"number": 2, "train_loss": 9, "dev_loss": 8, "wer": 1.0, "cer": 0.5}
    assert [run["flags"] for run in found["runs"]] == [{"dropout_rate": "0.05"}, {"dropout_rate": "0.2"}]
    query = "run=a/20260101_000000&run=b/20260101_000000"
    compared = client.get(f"/v1/status/sessions/compared?{query}").json()
    assert [len(run["epochs"]) for run in compared["runs"]] == [2, 1]
    assert compared["differs"] == [{"flag": "dropout_rate", "values": ["0.05", "0.2"]}]
    refusals = {"": 400, "run=../x": 404, "&".join(f"run={n}" for n in range(5)): 400}
    assert {q: client.get(f"/v1/status/sessions/compared?{q}").status_code for q in refusals} == refusals


@pytest.mark.slow
def test_after_a_training_the_page_has_its_diagnosis_and_what_is_served(start_app, browser, tmp_path):
    volume = make_volume(tmp_path, flags=(*FLAGS, f"--dev_files {tmp_path / 'corpora/tiny/train.csv'}"))
    app = start_app("--data", volume)
    app.until_phase("serving")
    with chromium.visit(browser, f"{app.url}/status", viewport={"width": 390, "height": 844}) as visitor:
        page = visitor.ready().page
        assert page.locator("#phase").inner_text() == "Serving"
        assert "UNDERTRAINED" in page.locator("#diagnosis").inner_text().upper()
        page.click("summary:has-text('Models')")
        assert "speech" in page.locator("#models").inner_text()
        page.click("#clip-list button >> nth=0")
        visitor.until("window.played.length === 1 && window.played[0].length === 2")  # it was heard to its end
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # of a phone
    assert app.end() == 0


def test_the_machine_is_read_once_a_second_and_its_gpus_as_the_log_has_them(tmp_path):
    readings = []

    def gpus():
        readings.append(1)
        return [Gpu(0, "Fake", "GPU-0", "0:0", 24, 20, (8, 9), 0.5, 61, power_w=231.5, power_limit_w=450.0)]

    facts = MachineFacts(tmp_path, gpus=gpus)
    told = facts.as_json()
    assert facts.as_json() is told and len(readings) == 1
    assert told["cores"] >= 1 and 0 < told["memory_available"] <= told["memory_total"]
    assert told["gpus"] == [
        {
            "index": 0,
            "name": "Fake",
            "busy": 0.5,
            "memory_used": 4,
            "memory_total": 24,
            "temperature_c": 61,
            "power_w": 231.5,
            "power_limit_w": 450.0,
        }
    ]
