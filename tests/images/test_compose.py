"""compose.yaml with a real Compose: `docker compose`, or docker-compose 1.29."""

import json
import re
import urllib.request
from typing import Any

import pytest
import yaml
from images.containers import INSIDE, ROOT, docker, fill, free_port, wait_until
from training.processes import make_corpus, transcripts

pytestmark = pytest.mark.docker
FLAGS = (
    f"--train_files {INSIDE}/corpora/tiny/clips.csv --checkpoint_dir {INSIDE}/checkpoints/tiny --n_hidden 256 "
    "--epochs 500 --checkpoint_secs 5"
)


def test_compose_understands_every_service(compose):
    names = ("gpu", "cpu", "shell", "serve", "tensorboard", "app-gpu")
    profiles = [word for name in names for word in ("--profile", name)]
    ended = compose(*profiles, "config", "--services")
    assert ended.returncode == 0, ended.stderr
    services = ["app", "app-gpu", "serve", "shell", "tensorboard", "train", "train-cpu"]
    assert sorted(ended.stdout.split()) == services
    described = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    started = [name for name, service in described.items() if "profiles" not in service]
    assert started == ["app"], "what `docker compose up` starts"
    found = compose(*profiles, "config").stdout
    assert re.search(r"127\.0\.0\.1:6006|host_ip: 127\.0\.0\.1", found)
    assert "stop_grace_period: 2m" in found and "on-failure:5" in found


def test_a_training_of_compose_has_its_limits_restarts_and_stops_with_143(compose, tmp_path):
    make_corpus(tmp_path, transcripts(8))
    fill(compose.volume, tmp_path, "corpora/tiny")
    ended = compose("--profile", "cpu", "up", "-d", "train-cpu", TRAIN_FLAGS=FLAGS, MEMORY="4g", CPUS="1.0")
    assert ended.returncode == 0, ended.stderr
    (container,) = compose("--profile", "cpu", "ps", "-q").stdout.split()

    def logs() -> str:
        found = docker("logs", container)
        return found.stdout + found.stderr

    wait_until(lambda: "saved" in logs() or "Epoch" in logs(), logs)
    host = json.loads(docker("inspect", "--format", "{{json .HostConfig}}", container).stdout)
    assert host["Memory"] == 4 * 2**30 and host["NanoCpus"] == 10**9
    assert docker("exec", container, "bash", "-c", "kill -KILL $(cat /proc/1/task/1/children)").returncode == 0
    wait_until(lambda: "Epoch" in logs().partition("Resumes from")[2], logs)
    ended = compose("--profile", "cpu", "stop", "train-cpu")
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "143", logs()
    assert "the same command resumes there" in logs()


def test_the_app_of_compose_answers_waits_and_ends_in_its_grace_time(compose, tmp_path):
    make_corpus(tmp_path, transcripts(3), name="train.csv")
    port = free_port()
    as_root = ("run", "--rm", "--env", "DEEPSPEECH_USER=0:0", "--mount")
    as_root += (f"type=volume,source={compose.volume},target={INSIDE}", "deepspeech:cpu", "bash", "-c")
    foreign = "rm -rf persistent-data/*; install -d -m 700 persistent-data/corpora/foreign"
    assert docker(*as_root, f"{foreign}; touch persistent-data/corpora/foreign/train.csv").returncode == 0
    ended = compose("up", "-d", "app", PORT=str(port), MEMORY="4g", CPUS="1.0")
    assert ended.returncode == 0, ended.stderr
    (container,) = compose("ps", "-q", "app").stdout.split()

    def logs() -> str:
        found = docker("logs", container)
        return found.stdout + found.stderr

    def health() -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
            return json.load(answer)

    wait_until(lambda: "corpora/foreign/train.csv: Permission denied" in logs(), logs)
    assert "volume own" in logs() and "Traceback" not in logs()
    fill(compose.volume, tmp_path, "corpora/tiny")
    readable = "rm -rf persistent-data/corpora/foreign; chmod -R go-w persistent-data; chmod -R go+rX persistent-data"
    assert docker(*as_root, readable).returncode == 0
    wait_until(lambda: "cannot be made (Permission denied), so nothing can be trained" in logs(), logs)
    assert "owned by the user of the container" in logs()
    fixed = "rm -rf persistent-data/corpora/tiny; chown -R 1000:1000 persistent-data"
    assert docker(*as_root, fixed).returncode == 0
    wait_until(lambda: health()["status"] == "waiting", logs)
    assert "waiting for a model or for data" in health()["message"] and health()["model_loaded"] is False
    host = json.loads(docker("inspect", "--format", "{{json .HostConfig}}", container).stdout)
    assert host["ReadonlyRootfs"] and host["Memory"] == 4 * 2**30 and host["CapDrop"] == ["ALL"]
    assert compose("stop", "app").returncode == 0
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0", logs()
