"""The importer of the one clip, against a server on this machine; never the network."""

import csv
import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deepspeech_training.commands.main import run
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.importers import ldc93s1

ROOT = Path(__file__).resolve().parents[2]
NO_SERVER = "http://127.0.0.1:9/LDC93S1.wav"  # the discard port: refused at once
PROVES = "this smoke test proves the program, not recognition of real speech"


@pytest.fixture
def real_clip() -> Path:
    data = Path(os.environ.get("DEEPSPEECH_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = data / "ldc93s1" / "LDC93S1.wav"
    if not path.is_file():
        pytest.skip(f"no real clip at {path}; set DEEPSPEECH_TEST_DATA to the folder with ldc93s1/LDC93S1.wav")
    return path


@pytest.fixture
def known_clip(tmp_path, monkeypatch) -> bytes:
    """A stand-in for the real clip, of which the importer knows the checksum."""
    content = b"RIFF" + bytes(range(256)) * 300
    monkeypatch.setattr(ldc93s1, "SHA256", hashlib.sha256(content).hexdigest())
    return content


@pytest.fixture
def server(monkeypatch):
    """Serves `server.content`, after `server.status`; `server.pause_s` before each kB where it is not 0."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.num_requests += 1
            self.send_response(self.server.status)
            self.end_headers()
            try:
                for start in range(0, len(self.server.content), 1000):
                    if self.server.pause_s and stopped.wait(self.server.pause_s):
                        return
                    self.wfile.write(self.server.content[start : start + 1000])
            except ConnectionError:
                pass  # the importer has hung up, as it should

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.status, server.pause_s, server.num_requests = b"", 200, 0, 0
        server.url = f"http://127.0.0.1:{server.server_port}/LDC93S1.wav"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        stopped.set()
        server.shutdown()
        thread.join()


class Import:
    """Runs the importer, keeps what it said and where."""

    def __init__(self, directory: Path, **arguments):
        stream = io.StringIO()
        arguments = {"url": NO_SERVER, "console": Console(stream=stream)} | arguments
        try:
            self.csv_path = ldc93s1.import_ldc93s1(directory, **arguments)
        finally:
            self.said = stream.getvalue()
        with self.csv_path.open(newline="") as file:
            [self.row] = csv.DictReader(file)
        self.clip = self.csv_path.parent / self.row["wav_filename"]


def test_a_clip_that_lies_in_the_directory_already_is_taken_without_the_network(tmp_path, known_clip, server):
    (tmp_path / "LDC93S1.wav").write_bytes(known_clip)
    done = Import(tmp_path, url=server.url)
    assert done.clip.read_bytes() == known_clip
    assert done.row == {
        "wav_filename": "LDC93S1.wav",
        "wav_filesize": str(len(known_clip)),
        "transcript": "she had your dark suit in greasy wash water all year",
    }
    assert "the real clip LDC93S1" in done.said
    assert server.num_requests == 0


def test_a_download_with_the_right_checksum_is_taken(tmp_path, known_clip, server):
    server.content = known_clip
    done = Import(tmp_path / "data", url=server.url)
    assert done.clip.read_bytes() == known_clip
    assert f"the real clip LDC93S1, downloaded from {server.url}" in done.said
    assert sorted(path.name for path in done.clip.parent.iterdir()) == ["LDC93S1.wav", "ldc93s1.csv"]
    assert stat.S_IMODE(done.clip.stat().st_mode) == 0o644


def written(path):
    """Which file this is and when it was last written; not when it was read, which a second import may do."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def test_a_second_import_finds_everything_done(tmp_path, known_clip, server):
    server.content = known_clip
    first = Import(tmp_path, url=server.url)
    before = [written(path) for path in (first.clip, first.csv_path)]
    second = Import(tmp_path, url=server.url)
    assert [written(path) for path in (second.clip, second.csv_path)] == before
    assert server.num_requests == 1
    assert "already" in second.said


def test_a_damaged_clip_in_the_directory_is_replaced_and_said(tmp_path, known_clip, server):
    (tmp_path / "LDC93S1.wav").write_bytes(known_clip[:-1])
    server.content = known_clip
    done = Import(tmp_path, url=server.url)
    assert done.clip.read_bytes() == known_clip
    assert f"W {tmp_path / 'LDC93S1.wav'} is not the clip LDC93S1" in done.said


@pytest.mark.parametrize(
    ("content", "status", "pause_s", "words"),
    [
        (b"another file", 200, 0, "another file than LDC93S1.wav: 12 bytes"),
        (bytes(1_100_000), 200, 0, "more than 1,000,000 bytes"),
        (b"gone", 404, 0, "answers 404 Not Found"),
        (bytes(5000), 200, 30, "timed out"),
        (bytes(100_000), 200, 0.1, "did not send all within 0.4 s"),
        (b"", 200, 0, "0 bytes"),
    ],
    ids=["wrong checksum", "too large", "404", "hanging", "dripping", "empty"],
)
def test_a_bad_download_is_named_and_the_synthesised_clip_taken(
    tmp_path, known_clip, server, content, status, pause_s, words
):
    server.content, server.status, server.pause_s = content, status, pause_s
    start = time.monotonic()
    done = Import(tmp_path / "data", url=server.url, timeout_s=0.4)
    assert time.monotonic() - start < 5
    assert words in done.said
    assert f"NO NETWORK: a synthesised clip of the same sentence; {PROVES}" in done.said
    assert done.clip.read_bytes() == ldc93s1.SMOKE_CLIP.read_bytes()
    assert done.row["wav_filename"] == "LDC93S1-synthetic.wav"
    assert int(done.row["wav_filesize"]) == done.clip.stat().st_size
    assert sorted(path.name for path in done.clip.parent.iterdir()) == ["LDC93S1-synthetic.wav", "ldc93s1.csv"]


def test_a_network_that_comes_back_brings_the_real_clip(tmp_path, known_clip, server):
    assert Import(tmp_path).row["wav_filename"] == "LDC93S1-synthetic.wav"
    server.content = known_clip
    assert Import(tmp_path, url=server.url).row["wav_filename"] == "LDC93S1.wav"


def test_the_real_clip_is_an_error_where_it_is_demanded_and_cannot_be_had(tmp_path):
    with pytest.raises(UserError, match="could not be had"):
        Import(tmp_path, source="real")
    assert list(tmp_path.iterdir()) == []


def test_the_synthesised_clip_is_taken_where_it_is_asked_for_even_beside_the_real_one(tmp_path, known_clip, server):
    server.content = known_clip
    Import(tmp_path, url=server.url)
    done = Import(tmp_path, url=server.url, source="synthetic")
    assert done.row["wav_filename"] == "LDC93S1-synthetic.wav"
    assert PROVES in done.said
    assert "NO NETWORK" not in done.said
    assert server.num_requests == 1


def test_an_unknown_source_is_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="bset"):
        Import(tmp_path, source="bset")


def test_a_directory_that_is_a_file_is_a_fault_the_person_can_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Name a directory"):
        Import(tmp_path / "file", source="synthetic")


def test_the_real_clip_has_the_checksum_that_is_known(tmp_path, real_clip):
    (tmp_path / "LDC93S1.wav").write_bytes(real_clip.read_bytes())
    assert "already" in Import(tmp_path, source="real").said


def test_nothing_that_is_shipped_knows_of_the_folders_of_developers():
    for path in [*(ROOT / "deepspeech_training").rglob("*.py"), *(ROOT / "bin").glob("*.sh")]:
        text = path.read_text(encoding="utf-8")
        assert "DEEPSPEECH_TEST_DATA" not in text and '"shared"' not in text and "shared/data" not in text, path


def test_the_command_prints_the_csv_and_says_the_rest_on_stderr(tmp_path):
    command = [sys.executable, ROOT / "bin" / "import_ldc93s1.py", "data", "--source=synthetic"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "data/ldc93s1.csv\n")
    assert PROVES in done.stderr
    assert (tmp_path / "data" / "ldc93s1.csv").is_file()


def test_the_command_has_exit_code_1_for_a_bad_directory_and_2_for_bad_flags(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("import ldc93s1", [str(tmp_path / "file"), "--source", "synthetic"]) == 1
    assert capsys.readouterr().err.startswith("E cannot import the clip")
    with pytest.raises(SystemExit) as exit_info:
        run("import ldc93s1", [str(tmp_path), "--source", "fake"])
    assert exit_info.value.code == 2
