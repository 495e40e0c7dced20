"""The service behind nginx and Caddy, with the files of docs/deployment."""

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.asyncio.client import connect

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "deployment"
NAME = "speech.example.org"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def nginx(folder: Path, port: int, served: str) -> list[str]:
    """The command that runs the example, with another port, other certificates and no files outside `folder`."""
    text = (EXAMPLES / "nginx.conf").read_text(encoding="utf-8")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("127.0.0.1:8000", served)
    text = text.replace(f"/etc/ssl/{NAME}", str(folder / "certificate"))
    paths = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder / 'pid'};\nerror_log {folder / 'error.log'};\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}}}\n",
        encoding="utf-8",
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


def caddy(folder: Path, port: int, served: str) -> list[str]:
    text = (EXAMPLES / "Caddyfile").read_text(encoding="utf-8").replace("127.0.0.1:8000", served)
    begin = f"{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {folder / 'certificate.pem'} {folder / 'certificate.key'}\n"
    text = re.sub(rf"^{re.escape(NAME)} {{\n", lambda _: begin, text, flags=re.MULTILINE)
    config = folder / "Caddyfile"
    config.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text, encoding="utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


@pytest.fixture(scope="module", params=[nginx, caddy])
def proxy(request, _servers, small_model, tmp_path_factory):
    """(port, ssl context) of a proxy in front of a server of its own."""
    program = request.param.__name__
    if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
        pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp(program)
    folder.chmod(0o755)  # the workers of nginx are another user
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(str(folder / "certificate.key"))
    for place, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(str(folder / "certificate.pem"), append=place > 0)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = _servers("--model", small_model, "--allowed_hosts", NAME, "--max_upload_mb", 2)
    port = free_port()
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin", "XDG_DATA_HOME": str(folder)}
    command = request.param(folder, port, server.url.removeprefix("http://"))
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            said = (folder / "log").read_text(encoding="utf-8")
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.05)
    yield port, context
    process.terminate()
    process.wait(20)
    server.kill()


def ask(proxy, method: str, path: str, **more) -> httpx.Response:
    port, context = proxy
    with httpx.Client(verify=context, timeout=60, trust_env=False) as client:
        headers = {"Host": NAME}
        return client.request(
            method, f"https://127.0.0.1:{port}{path}", headers=headers, extensions={"sni_hostname": NAME}, **more
        )


def test_models_uploads_and_refusals_pass_through(proxy, speech_wav):
    assert ask(proxy, "GET", "/v1/models").json()["data"]
    found = ask(proxy, "POST", "/v1/audio/transcriptions", files={"file": speech_wav}, data={"model": "whisper-1"})
    assert found.status_code == 200 and isinstance(found.json()["text"], str)
    large = ask(proxy, "POST", "/v1/audio/transcriptions", files={"file": bytes(3 << 20)}, data={"model": "whisper-1"})
    assert large.status_code == 413 and "--max_upload_mb" in large.json()["error"]["message"]


def test_a_streamed_answer_is_not_held_back(proxy, speech_wav):
    data = {"model": "whisper-1", "stream": "true"}
    found = ask(proxy, "POST", "/v1/audio/transcriptions", files={"file": speech_wav}, data=data)
    assert found.headers["content-type"].startswith("text/event-stream")
    assert found.text.rstrip().endswith("[DONE]")


def test_a_websocket_gives_the_text_of_the_upload(proxy, speech_wav):
    port, context = proxy
    whole = ask(proxy, "POST", "/v1/audio/transcriptions", files={"file": speech_wav}, data={"model": "whisper-1"})

    async def talk() -> list[dict]:
        uri = f"wss://{NAME}:{port}/v1/stream?rate=16000&endpointing=0"
        async with connect(uri, host="127.0.0.1", port=port, ssl=context, proxy=None) as stream:
            audio = speech_wav[44:]
            for begin in range(0, len(audio), 3200):
                await stream.send(audio[begin : begin + 3200])
            await stream.send(json.dumps({"type": "finish"}))
            return [json.loads(message) async for message in stream]

    events = asyncio.run(asyncio.wait_for(talk(), 60))
    assert events[0]["type"] == "ready" and events[-1]["type"] == "done"
    text = " ".join(event["text"] for event in events if event["type"] == "final")
    assert text == whole.json()["text"]
