"""Download from a local server: whole, resumed, checked."""

import hashlib
import http.server
import threading

import pytest

from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.importers.download import download

CONTENT = bytes(range(256)) * 4000
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; its first answers break off after `breaks[0]` bytes."""

    breaks: list[int]
    seen: list[str]

    def do_GET(self):
        if self.path != "/a%20b.tar":
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        self.seen.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = start + self.breaks.pop(0) if self.breaks else None
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.breaks, Handler.seen = [], []
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def get(url, folder, **options):
    return download(url, folder, console=Console(level=3), wait_s=0, **options)


def test_a_download_is_checked_and_not_made_twice(server, tmp_path):
    path = get(f"{server}/a%20b.tar", tmp_path, checksum=SHA256)
    assert path == tmp_path / "a b.tar" and path.read_bytes() == CONTENT
    assert get(f"{server}/a%20b.tar", tmp_path, checksum=SHA256) == path and len(Handler.seen) == 1


def test_a_broken_connection_is_resumed(server, tmp_path):
    Handler.breaks = [1000, 500_000]
    assert get(f"{server}/a%20b.tar", tmp_path, checksum=SHA256).read_bytes() == CONTENT
    assert Handler.seen == ["", "bytes=1000-", "bytes=501000-"]


def test_a_part_from_before_is_gone_on_with_and_a_whole_one_is_taken(server, tmp_path):
    (tmp_path / "a b.tar.part").write_bytes(CONTENT)
    assert get(f"{server}/a%20b.tar", tmp_path, checksum=SHA256).read_bytes() == CONTENT


def test_what_is_wrong_is_told(server, tmp_path):
    with pytest.raises(UserError, match="another file"):
        get(f"{server}/a%20b.tar", tmp_path, checksum="md5:" + "0" * 32)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="404"):
        get(f"{server}/other.tar", tmp_path)
    with pytest.raises(UserError, match="names no file"):
        get(f"{server}/", tmp_path)
    with pytest.raises(FlagError, match="64 hexadecimal digits"):
        get(f"{server}/a%20b.tar", tmp_path, checksum="sha256:123")
    Handler.breaks = [10] * 9
    with pytest.raises(UserError, match="resumes where it stopped"):
        get(f"{server}/a%20b.tar", tmp_path, attempts=3)
