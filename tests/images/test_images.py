"""The images on a real engine. `.ci/docker` builds them and runs this."""

import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from images.containers import DOCKER, INSIDE, TIMEOUT_S, Container, bind, docker, named, run, run_on_terminal
from training.processes import assert_log_is_whole, assert_same_end, log_size, make_corpus, new_events, transcripts

pytestmark = pytest.mark.docker
ROOT = Path(__file__).resolve().parents[2]
CPU, SERVE = "deepspeech:cpu", "deepspeech:serve"
EPOCHS = 6
CORPUS = f"{INSIDE}/corpora/tiny"
CHECKPOINTS = f"{INSIDE}/checkpoints/tiny"
FLAGS = (
    "--train_files",
    f"{CORPUS}/clips.csv",
    "--dev_files",
    f"{CORPUS}/dev.csv",
    "--checkpoint_dir",
    CHECKPOINTS,
    "--n_hidden",
    "128",
    "--epochs",
    EPOCHS,
    "--checkpoint_secs",
    "2",
)
ONE_EPOCH = ("--n_hidden", "8", "--epochs", "1", "--limit_train", "4", "--limit_dev", "2")


@pytest.fixture(scope="session", autouse=True)
def images():
    for image in (CPU, SERVE):
        if docker("image", "inspect", image).returncode != 0:
            pytest.fail(f"there is no image {image}: .ci/docker builds it")


def make_volume(folder: Path, *, clips: int = 100) -> Path:
    """A folder as the volume has it, with a tiny corpus."""
    corpus = folder / "corpora" / "tiny"
    make_corpus(corpus, transcripts(clips))
    make_corpus(corpus, transcripts(6), seed=900, name="dev.csv")
    return folder


@pytest.fixture
def volume(tmp_path):
    return make_volume(tmp_path / "volume")


@pytest.fixture
def start():
    """A function that starts a container in the background, which is removed afterwards."""
    started = []

    def begin(*words) -> Container:
        started.append(Container(*words))
        return started[-1]

    yield begin
    for container in started:
        container.remove()


@pytest.fixture
def named_volume():
    """The name of a volume that is yet to be made, and is removed afterwards."""
    name = f"deepspeech-test-{uuid.uuid4().hex[:12]}"
    yield name
    docker("volume", "rm", "--force", name)


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    """The checkpoint folder of a run that nothing has interrupted."""
    folder = make_volume(tmp_path_factory.mktemp("unbroken") / "volume")
    ended = run(*bind(folder), CPU, "train", *FLAGS)
    assert ended.returncode == 0, ended.stderr
    return folder / "checkpoints" / "tiny"


def in_epoch(folder: Path, epoch: int):
    """A moment: `epoch` epochs of the run have ended, a step of the next has been made since this process began."""
    checkpoints = folder / "checkpoints" / "tiny"
    kept = log_size(checkpoints)

    def moment() -> bool:
        nonlocal kept
        kept = min(kept, log_size(checkpoints))
        ended = new_events(checkpoints, 0).count("epoch")
        return ended >= epoch and new_events(checkpoints, kept)[-1:] in (["step"], ["epoch_begin"])

    return moment


# --- what is in the images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "megabytes"), [(CPU, 2000), (SERVE, 750)])
def test_an_image_is_small(image, megabytes):
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout)
    print(f"{image}: {size / 1e6:.0f} MB")
    assert size < megabytes * 1e6


@pytest.mark.parametrize("image", [CPU, SERVE])
def test_no_cache_and_no_file_of_the_repository_alone_is_in_an_image(image):
    found = docker("run", "--rm", "--entrypoint", "ls", image, "-A", "/DeepSpeech").stdout.split()
    assert "DeepSpeech.py" in found
    assert [name for name in found if name.startswith(".") or name in ("tests", "benchmarks", "build", "dist")] == []


@pytest.mark.parametrize("image", [CPU, SERVE])
def test_an_image_has_labels_and_no_anonymous_volume(image):
    found = docker("image", "inspect", "--format", "{{json .Config.Volumes}} {{json .Config.Labels}}", image).stdout
    assert found.startswith("null ")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f'"org.opencontainers.image.{label}":"' in found


def test_every_tool_is_in_the_image():
    script = """
        set -e
        sox --help | grep -q 'AUDIO FILE FORMATS.* mp3 '
        nvtop --version
        deepspeech-train --version
        sox -n -r 16000 /tmp/tone.mp3 synth 1 sine 300
        python -c 'import soundfile; print(len(soundfile.read("/tmp/tone.mp3")[0]))'
        for program in bin/*; do
          case $program in bin/*.sh | bin/_* | bin/make_*) continue ;; esac
          "$program" --help > /dev/null || { echo "$program does not run"; exit 1; }
        done
        test ! -e tests && test ! -e .git
        echo all there
    """
    ended = run("--network", "none", CPU, "bash", "-c", script)
    assert ended.stdout.endswith("all there\n"), ended


# In a container of the service, without a client beside Python: upload a clip, print the answer.
UPLOAD = """
import sys, urllib.request
audio = open(sys.argv[1], "rb").read()
head = b'--x\\r\\nContent-Disposition: form-data; name="file"; filename="clip.wav"\\r\\n\\r\\n'
request = urllib.request.Request(
    "http://127.0.0.1:8000/v1/audio/transcriptions", head + audio + b"\\r\\n--x--\\r\\n",
    {"Content-Type": "multipart/form-data; boundary=x", "Authorization": "Bearer " + sys.argv[2]},
)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def test_the_image_without_tensorflow_transcribes_and_serves_an_exported_model(tmp_path, start):
    export = ("--export_dir", f"{INSIDE}/exports/tiny", "--checkpoint_dir", CHECKPOINTS)
    folder = make_volume(tmp_path, clips=4)
    ended = run(*bind(folder), CPU, "train", *FLAGS, *ONE_EPOCH, *export, "--export_language", "en")
    assert ended.returncode == 0, ended.stderr
    model = f"{INSIDE}/exports/tiny/output_graph.tflite"
    transcribe = ("transcribe", "--model", model, f"{CORPUS}/clips-00.wav")
    ended = run(*bind(folder), "--network", "none", SERVE, *transcribe)
    assert ended.returncode == 0, ended.stderr
    heard = ended.stdout.split("\t")[-1].strip()

    refused = run(*bind(folder), SERVE, "serve", "--model", model)
    assert refused.returncode == 2 and "--no_key" in refused.stderr, refused  # all the network could use it
    key = "a-key-of-this-test"
    service = start(
        *bind(folder),
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--env",
        f"DEEPSPEECH_API_KEY={key}",
        SERVE,
        "serve",
        "--model",
        f"{INSIDE}/exports",
    )
    service.wait_until(lambda: "Listening on" in service.logs())
    found = docker("exec", service.name, "python", "-c", UPLOAD, f"{CORPUS}/clips-00.wav", key)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["text"] == heard
    assert docker("stop", "--time", 30, service.name).returncode == 0
    assert service.exit_code == 0, service.logs()

    ended = run(SERVE, "python", "-c", "import tensorflow")
    assert "No module named 'tensorflow'" in ended.stderr
    ended = run(SERVE, "python", "-c", "import numba; print(numba.njit(lambda x: x + 1)(1))")
    assert ended.stdout == "2\n", ended.stderr


# --- first steps ---------------------------------------------------------------------------------------------------


def test_the_smoke_test_needs_neither_network_nor_volume_nor_a_root_that_can_be_written():
    ended = run("--network", "none", "--read-only", "--tmpfs", "/tmp", CPU, "smoke")
    assert ended.returncode == 0, ended.stderr
    assert "the clip was learned: WER 0" in ended.stderr


@pytest.mark.parametrize("entry", [(CPU,), ("--entrypoint", "/bin/bash", CPU)])
def test_an_interactive_shell_opens_with_a_banner(entry, named_volume):
    shown = run_on_terminal(*named(named_volume), *entry, typed="pwd; ulimit -c; exit 7\n")
    assert shown.index("deepspeech_training") < shown.index("Next:")
    assert shown.count("Next:") == 1
    assert "this image trains on the CPU" in shown
    assert re.search(rf"Volume +{INSIDE}: mounted, writable, [\d.]+ GB free", shown)
    assert "root (0:0) will own what is written" in shown
    assert re.search(r"^/DeepSpeech$", shown.replace("\r", "\n"), re.MULTILINE)


def test_the_shell_has_the_owner_of_the_volume_or_says_that_it_has_not(tmp_path):
    os.chown(tmp_path, 1234, 1234)
    shown = run_on_terminal(*bind(tmp_path), CPU, typed="id -u; exit\n")
    assert "1234:1234 will own what is written" in shown and "but the volume" not in shown
    shown = run_on_terminal(*bind(tmp_path), "--entrypoint", "/bin/bash", CPU, typed="exit\n")
    assert "but the volume belongs to 1234:1234" in shown


def test_the_banner_is_loud_without_a_gpu_and_without_a_volume():
    shown = run_on_terminal("-e", "DEEPSPEECH_MODE=gpu", "-e", "DEEPSPEECH_IMAGE=gpu", CPU, typed="exit\n")
    assert "!!! NO GPU !!!" in shown and "refuses to start" in shown
    assert "!!! NOT MOUNTED !!!" in shown and "--mount type=volume,source=deepspeech-data" in shown


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("bash", "-c", "exit 9"), 9, ""),
        (("nonsense",), 2, "no command or program nonsense"),
        (("format",), 2, "usage: format CORPUS"),
        (("format", "../bin/doctor"), 2, "usage: format CORPUS"),
        (("train",), 2, "there is nothing to do"),
        (("train", "--epochs", "x"), 2, "--epochs x"),
        (("test", "--test_files", "/nowhere.csv"), 1, "there is no checkpoint"),
        (("help",), 0, "smoke"),
    ],
)
def test_an_image_ends_with_the_exit_code_of_what_it_runs(words, code, told):
    ended = run(CPU, *words)
    assert ended.returncode == code and told in ended.stdout + ended.stderr, ended


def test_doctor_finds_a_sound_container_sound(named_volume):
    ended = run(*named(named_volume), CPU, "doctor")
    assert ended.returncode == 0 and ended.stdout.endswith("No faults\n"), ended.stdout
    ended = run(*named(named_volume), "-e", "DEEPSPEECH_MODE=gpu", CPU, "doctor")
    assert ended.returncode == 1 and re.search(r"FAULT GPU .*libnvidia-ml", ended.stdout), ended.stdout


# --- limits --------------------------------------------------------------------------------------------------------


def test_512_megabytes_are_refused_with_the_figure_that_it_takes(volume):
    ended = run("--memory", "512m", "--memory-swap", "512m", *bind(volume), CPU, "train", *FLAGS)
    assert ended.returncode == 1
    assert re.search(
        r"E n_hidden 128 needs about 0\.6\d GB of memory.*the limit of this container is 0\.54", ended.stderr
    )


def test_one_cpu_means_one_thread(volume):
    ended = run("--cpus", "1", *bind(volume), CPU, "train", *FLAGS, *ONE_EPOCH)
    assert ended.returncode == 0, ended.stderr
    assert "CPU:0 (1 cores, no GPU); float32; 1 threads per operation" in ended.stderr
    ended = run("--cpus", "1", CPU, "bash", "-c", "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS")
    assert ended.stdout == "1 1\n"


# --- the volume ----------------------------------------------------------------------------------------------------


def test_without_a_volume_training_refuses_and_says_how_to_mount_one(volume):
    corpora = ("--mount", f"type=bind,source={volume}/corpora,target=/corpora,readonly")
    files = ("--train_files", "/corpora/tiny/clips.csv")
    ended = run(*corpora, CPU, "train", *files, *ONE_EPOCH)
    assert ended.returncode == 2 and "--mount type=volume,source=deepspeech-data" in ended.stderr, ended
    ended = run(*corpora, CPU, "train", *files, *ONE_EPOCH, "--ephemeral")
    assert ended.returncode == 0, ended.stderr
    anonymous = ("--mount", f"type=volume,target={INSIDE}")
    ended = run(*anonymous, *corpora, CPU, "train", *files, *ONE_EPOCH)
    assert ended.returncode == 2 and "gone with this container" in ended.stderr, ended


def test_a_named_volume_outlives_its_containers(named_volume, start, volume):
    corpora = ("--mount", f"type=bind,source={volume}/corpora,target={INSIDE}/corpora,readonly")
    first = start(*named(named_volume), *corpora, CPU, "train", *FLAGS, *ONE_EPOCH)
    assert first.wait() == 0, first.logs()
    first.remove()
    ended = run(*named(named_volume), *corpora, CPU, "train", *FLAGS, *ONE_EPOCH, "--epochs", "2")
    assert ended.returncode == 0, ended.stderr
    assert "Resumes from" in ended.stderr or "of a finished run" in ended.stderr
    assert "Epoch   2" in ended.stderr and "Epoch   1" not in ended.stderr


def owners(folder: Path) -> set[tuple[int, int]]:
    found = [path.stat() for path in [folder, *folder.rglob("*")]]
    return {(status.st_uid, status.st_gid) for status in found}


WRITE = ("bash", "-c", "mkdir -p persistent-data/checkpoints/tiny && touch persistent-data/checkpoints/tiny/x")


@pytest.mark.parametrize(
    ("owner", "user", "words", "expected"),
    [
        ((0, 0), (), WRITE, (0, 0)),
        ((1234, 1234), (), ("train", *FLAGS, *ONE_EPOCH), (1234, 1234)),  # root becomes the owner of the volume
        ((1234, 1234), ("-u", "1234:1234"), WRITE, (1234, 1234)),
        ((0, 0), ("-e", "DEEPSPEECH_USER=1234:1234"), WRITE, (1234, 1234)),
    ],
)
def test_files_belong_to_the_owner_of_the_volume(volume, owner, user, words, expected):
    (volume / "checkpoints").mkdir()
    (volume / "checkpoints").chmod(0o777)
    for path in [volume, *volume.rglob("*")]:
        os.chown(path, *owner)
    ended = run(*bind(volume), *user, CPU, *words)
    assert ended.returncode == 0, ended.stderr
    assert owners(volume / "checkpoints" / "tiny") == {expected}


def test_a_user_without_a_name_can_use_a_new_volume_and_a_root_that_is_read_only(named_volume, volume):
    user = ("-u", "1234:1234", "--read-only", "--tmpfs", "/tmp", *named(named_volume))
    corpora = ("--mount", f"type=bind,source={volume}/corpora,target={INSIDE}/corpora,readonly")
    ended = run(*user, *corpora, CPU, "train", *FLAGS, *ONE_EPOCH)
    assert ended.returncode == 0, ended.stderr
    found = run(*user, CPU, "bash", "-c", "stat -c %u:%g persistent-data/checkpoints/tiny/*.json; touch $HOME/x")
    assert found.returncode == 0 and set(found.stdout.split()) == {"1234:1234"}, found
    ended = run(*user, CPU, "doctor")
    assert ended.returncode == 0 and "1234:1234 will own" in ended.stdout, ended.stdout


def test_a_full_volume_is_told_and_keeps_what_it_has(named_volume, start, volume):  # the container goes first
    options = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=3m")
    assert docker("volume", "create", *options, named_volume).returncode == 0
    mounts = (*named(named_volume), "--mount", f"type=bind,source={volume}/corpora,target={INSIDE}/corpora,readonly")
    start(*mounts, CPU, "sleep", "600")  # the memory of such a volume is given back with its last container
    flags = (*FLAGS, *ONE_EPOCH, "--ephemeral", "--n_hidden", "64", "--epochs", "9", "--dev_files", "")
    ended = run(*mounts, CPU, "train", *flags)
    assert ended.returncode == 1, ended.stderr
    assert "no space left on the disk" in ended.stderr
    test = ("test", "--test_files", f"{CORPUS}/dev.csv", "--checkpoint_dir", CHECKPOINTS)
    ended = run(*mounts, CPU, *test)
    assert ended.returncode == 0 and "Test on" in ended.stdout, ended.stderr


# --- stop, kill, restart -------------------------------------------------------------------------------------------


def test_a_stopped_and_killed_run_ends_as_an_unbroken_one(start, volume, unbroken):
    checkpoints = volume / "checkpoints" / "tiny"

    stopped = start(*bind(volume), CPU, "train", *FLAGS)
    stopped.wait_until(in_epoch(volume, 1))
    assert docker("stop", "--time", "120", stopped.name).returncode == 0
    assert stopped.exit_code == 143, stopped.logs()
    assert "the same command resumes there" in stopped.logs()
    stopped.remove()

    killed = start(*bind(volume), CPU, "train", *FLAGS)
    killed.wait_until(in_epoch(volume, 2))
    assert docker("kill", killed.name).returncode == 0
    assert killed.exit_code == 137
    killed.remove()

    ended = run(*bind(volume), CPU, "train", *FLAGS)
    assert ended.returncode == 0, ended.stderr
    assert_same_end(checkpoints, unbroken)
    assert_log_is_whole(checkpoints, EPOCHS)


def test_a_run_that_is_killed_inside_restarts_by_itself_and_ends_the_same(start, volume, unbroken):
    # Of `docker kill` the engine knows that it was wanted, and restarts nothing.
    container = start("--restart", "on-failure:5", *bind(volume), CPU, "train", *FLAGS)
    container.wait_until(in_epoch(volume, 1))
    assert docker("exec", container.name, "bash", "-c", "kill -KILL $(cat /proc/1/task/1/children)").returncode == 0
    assert container.wait() == 0, container.logs()
    assert int(container.inspect("{{.RestartCount}}")) == 1
    assert_same_end(volume / "checkpoints" / "tiny", unbroken)


def test_a_fault_of_the_data_does_not_restart_for_ever(start, volume):
    (volume / "corpora" / "tiny" / "clips-00.wav").unlink()
    container = start("--restart", "on-failure:3", *bind(volume), CPU, "train", *FLAGS)
    assert container.wait() == 1
    assert int(container.inspect("{{.RestartCount}}")) == 3
    assert "clips-00.wav" in container.logs()


def test_a_shell_script_that_is_stopped_ends_at_once(start):
    container = start(CPU, "smoke")
    container.wait_until(lambda: "Starts with new weights" in container.logs())
    assert docker("stop", "--time", "30", container.name).returncode == 0
    assert container.exit_code == 143, container.logs()


# --- bin/docker.sh -------------------------------------------------------------------------------------------------


ENVIRONMENT = os.environ | {"DOCKER": DOCKER}


def docker_sh(*words, volume: str, first: tuple[str, ...] = ("--cpu",)) -> subprocess.CompletedProcess:
    command = [ROOT / "bin" / "docker.sh", *first, "--volume", volume, *words]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, env=ENVIRONMENT
    )


def test_gpus_that_the_engine_cannot_give_are_explained(named_volume):
    ended = docker_sh("run", "doctor", volume=named_volume, first=("--image", CPU))
    if docker("run", "--rm", "--gpus", "all", "--entrypoint", "true", CPU).returncode == 0:
        assert ended.returncode == 0  # there is a GPU here
        return
    assert ended.returncode == 125
    assert "could not select device driver" in ended.stderr
    assert "nvidia-container-toolkit" in ended.stderr and "--cpu" in ended.stderr


def test_a_volume_is_inspected_backed_up_restored_and_fetched_from(named_volume, tmp_path):
    fill = "cd persistent-data/checkpoints; mkdir a; head -c 3000000 /dev/urandom > a/x; chown 77:77 a/x"
    filled = run(*named(named_volume), CPU, "bash", "-c", fill)
    assert filled.returncode == 0, filled.stderr
    ended = docker_sh("volume", "inspect", volume=named_volume)
    assert ended.returncode == 0 and named_volume in ended.stdout and "checkpoints" in ended.stdout, ended

    tar = tmp_path / "backup.tar"
    ended = docker_sh("volume", "backup", tar, volume=named_volume)
    assert ended.returncode == 0 and tar.stat().st_size > 3_000_000, ended
    assert docker_sh("volume", "backup", tar, volume=named_volume).returncode == 1  # not over a file
    assert docker_sh("volume", "restore", tar, volume=named_volume).returncode == 1  # nor over a volume

    other = f"{named_volume}-restored"
    try:
        ended = docker_sh("volume", "restore", tar, volume=other)
        assert ended.returncode == 0, ended
        ended = docker_sh("volume", "fetch", "checkpoints/a/x", tmp_path / "fetched", volume=other)
        assert ended.returncode == 0, ended
        found = tmp_path / "fetched" / "checkpoints" / "a" / "x"
        original = docker_sh("volume", "fetch", "persistent-data/checkpoints", tmp_path / "first", volume=named_volume)
        assert original.returncode == 0
        assert found.read_bytes() == (tmp_path / "first" / "checkpoints" / "a" / "x").read_bytes()
        ended = run(*named(other), CPU, "stat", "-c", "%u", "persistent-data/checkpoints/a/x")
        assert ended.stdout == "77\n"
        assert docker_sh("volume", "own", "55:56", volume=other).returncode == 0
        ended = run(
            *named(other),
            "-u",
            "0:0",
            "-e",
            "DEEPSPEECH_USER=0:0",
            CPU,
            "stat",
            "-c",
            "%u:%g",
            "persistent-data",
            "persistent-data/checkpoints/a/x",
        )
        assert ended.stdout == "55:56\n55:56\n"
    finally:
        docker("volume", "rm", "--force", other)
    tar.write_bytes(tar.read_bytes()[:2_000_000])
    assert docker_sh("volume", "restore", tar, volume=f"{named_volume}-none").returncode == 1
    assert docker("volume", "inspect", f"{named_volume}-none").returncode != 0


def test_run_and_stop(volume):
    command = [ROOT / "bin" / "docker.sh", "--cpu", "--volume", str(volume), "run", "train", *map(str, FLAGS)]
    moment = in_epoch(volume, 1)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    )
    while not moment():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert docker_sh("stop", volume=str(volume)).returncode == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "the same command resumes there" in err, (out, err)
