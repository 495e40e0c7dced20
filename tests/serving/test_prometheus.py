"""The alerts and the dashboard of docs/deployment, with promtool and a real Prometheus that reads a real service."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from serving.conftest import wav_bytes
from serving.stream_clients import pcm
from websockets.asyncio.client import connect

from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.status import Status
from deepspeech_training.app.training_metrics import TrainingMetrics
from deepspeech_training.console import Console
from deepspeech_training.registry.store import MODEL_FILE, VOCABULARY_FILE, Registry
from deepspeech_training.registry.writer import writing
from deepspeech_training.serving.metrics import Metrics

WAIT_S = 60
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "deployment"
RULES = [
    rule
    for group in yaml.safe_load((EXAMPLES / "prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = [
    panel for panel in json.loads((EXAMPLES / "grafana-dashboard.json").read_text())["panels"] if panel["type"] != "row"
]
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no Prometheus to try the alerts with: apt-get install prometheus"
)


def expressions() -> list[str]:
    """Those of the dashboard, with a value for each of its variables, and those of the alerts."""
    shown = [target["expr"] for panel in PANELS for target in panel["targets"]]
    values = {"$__rate_interval": "10m", "$instance": ".*", "$model": ".*"}
    for name, value in values.items():
        shown = [expr.replace(name, value) for expr in shown]
    return [*shown, *(rule["expr"] for rule in RULES)]


def test_every_metric_of_the_alerts_and_the_dashboard_is_one_of_the_service(tmp_path):
    metrics = Metrics()
    metrics.add(TrainingMetrics(Status(MachineFacts(tmp_path), RunChoice(tmp_path))))
    metrics.watch(lag_s=lambda: 0.0, files=lambda: 0.0, models=dict)
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", metrics.text().decode(), re.MULTILINE))
    known = {"up"}
    for name, kind in types.items():
        known |= {f"{name}_{end}" for end in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    used = set(re.findall(r"\bdeepspeech_\w+", " ".join(expressions())))
    assert used <= known and len(used) > 15
    described = (ROOT / "docs" / "serving.md").read_text()
    assert {name for name in types if "utterance" in name or "words" in name or "drift" in name} <= set(
        re.findall(r"deepspeech_\w+", described)
    )


@needs_prometheus
def test_promtool_takes_the_examples_and_each_fault_fires_its_alert(tmp_path):
    rules = [{"record": f"shown:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    for words in (
        ("check", "config", EXAMPLES / "prometheus.yml"),
        ("check", "rules", tmp_path / "dashboard.yml"),
        ("test", "rules", Path(__file__).parent / "prometheus_alerts_test.yml"),
    ):
        done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def watched_server(make_server, watched_registry, tmp_path):
    """A server of a model that knows what its test set was like, and two words."""
    registry, made = Registry(tmp_path / "models"), Registry(watched_registry).version("en", 1)
    with writing(registry, Console(show_progressbar=False)) as writer:
        files = {MODEL_FILE: made.model_path, VOCABULARY_FILE: b"she\nhad"}
        writer.promote(writer.publish("en", files, {"tests": [], "profile": made.card()["profile"]}), "")
    return make_server("--model", registry.folder)


@pytest.fixture
def prometheus(watched_server, tmp_path):
    """The URL of a Prometheus that reads the server every second; the alerts of the examples fire at once."""
    config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [watched_server.url.removeprefix("http://")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = [{**rule, "for": "0s"} for rule in RULES]
    (tmp_path / "prometheus-alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data")
    with open(tmp_path / "prometheus.log", "w") as log:
        process = subprocess.Popen(["prometheus", *words, f"--web.listen-address={address}"], stderr=log)
    url = f"http://{address}"
    deadline = time.monotonic() + WAIT_S
    while not _is_ready(url):
        assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "prometheus.log").read_text()
        time.sleep(0.2)
    yield url
    process.terminate()
    process.wait(WAIT_S)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
@needs_prometheus
def test_prometheus_reads_a_service_fills_every_panel_and_tells_its_drift(watched_server, prometheus, spoken_clip):
    audio = np.frombuffer(pcm(spoken_clip), np.int16)
    quiet = wav_bytes((audio[: 16000 * 3 // 2] / 32768 / 10).astype(np.float32))
    with httpx.Client(base_url=watched_server.url, timeout=WAIT_S) as client:
        client.post("/v1/audio/transcriptions", files={"file": b"no audio"})
        for _ in range(100):
            assert client.post("/v1/audio/transcriptions", files={"file": quiet}).status_code == 200
        drift = client.get("/v1/drift").json()["models"]["en"]
    assert drift["band"] == drift["statistics"]["level_dbfs"]["band"] == "large", drift
    assert drift["statistics"]["unknown_words"]["served"] > 0.5

    async def talk() -> None:
        async with asyncio.timeout(WAIT_S), connect(watched_server.ws_url + "/v1/stream") as stream:
            await stream.send(audio.tobytes())
            await stream.send('{"type": "finish"}')
            async for _ in stream:
                pass

    asyncio.run(talk())

    def found(expr: str) -> list[dict]:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expr}, timeout=WAIT_S).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def wait_for(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.5)

    for expr in expressions()[: -len(RULES)]:
        wait_for(lambda expr=expr: found(expr) != [])
    wait_for(lambda: "DeepSpeechDrift" in firing(found))
    assert not firing(found) & {"DeepSpeechDown", "DeepSpeechNotReady", "DeepSpeechErrors"}
    watched_server.stop()
    wait_for(lambda: "DeepSpeechDown" in firing(found))


def firing(found: Callable[[str], list[dict]]) -> set[str]:
    return {series["metric"]["alertname"] for series in found('ALERTS{alertstate="firing"}')}
