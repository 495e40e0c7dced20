"""Keys, hosts, origins, TLS: who may talk to the service, over HTTP and websockets."""

import asyncio
import ssl

import httpx
import pytest
import trustme
import websockets
from websockets.asyncio.client import connect

from deepspeech_training.commands import main
from deepspeech_training.errors import FlagError
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.security import Security, keys_of, read_keys

KEY = "a-key-of-the-tests"
ORIGIN = "https://allowed.example"


@pytest.fixture(scope="module")
def keyed(_servers, small_model, tmp_path_factory):
    """A server that wants one of two keys, and lets the pages of ORIGIN talk to it."""
    path = tmp_path_factory.mktemp("key") / "keys"
    path.write_text(f"another-key\n{KEY}\n")
    return _servers("--model", small_model, "--api_key_file", path, "--allowed_origins", ORIGIN)


def status_of_socket(server, path: str = "/v1/stream", **arguments) -> int:
    """101, or the status that a handshake is refused with."""

    async def attempt() -> int:
        try:
            async with connect(server.ws_url + path, open_timeout=30, **arguments):
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    return asyncio.run(attempt())


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"Token {KEY}"},
        {"Authorization": "bearer another-key"},
        {"X-API-Key": KEY},
    ],
)
def test_a_key_comes_in_the_header_of_any_protocol(keyed, headers):
    assert httpx.get(f"{keyed.url}/v1/models", headers=headers).status_code == 200
    assert status_of_socket(keyed, additional_headers=headers) == 101


@pytest.mark.parametrize(
    "subprotocols",
    [
        ["deepspeech", f"deepspeech-key.{KEY}"],
        ["realtime", f"openai-insecure-api-key.{KEY}"],
        ["token", KEY],
    ],
)
def test_a_key_comes_among_the_subprotocols_of_a_socket(keyed, subprotocols):
    assert Security((KEY,)).has_key({"headers": [], "query_string": b"", "subprotocols": subprotocols})
    path = "/v1/stream" if subprotocols[0] == "deepspeech" else "/v1/realtime"
    if subprotocols[0] != "token":
        assert status_of_socket(keyed, path, subprotocols=subprotocols) == 101


def test_a_key_in_the_query_opens_and_is_in_no_log(keyed):
    assert httpx.get(f"{keyed.url}/v1/models?key={KEY}").status_code == 200
    assert status_of_socket(keyed, f"/v1/stream?token={KEY}") == 101
    assert httpx.get(f"{keyed.url}/v1/models?key=wrong-key-xyzzy").status_code == 401
    assert KEY not in keyed.err and "xyzzy" not in keyed.err and KEY not in keyed.out


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/models/small", "/xyzzy", "//", "/v1/stream/../live/"])
def test_without_a_key_nothing_is_said(keyed, path):
    answer = httpx.get(keyed.url + path)
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"}])
@pytest.mark.parametrize("path", ["/v1/stream", "/vosk", "/v1/realtime?intent=transcription", "/v1/listen", "/"])
def test_a_socket_without_a_key_is_refused_before_its_handshake(keyed, path, headers):
    assert status_of_socket(keyed, path, additional_headers=headers) == 401


def test_files_are_refused_without_a_key(keyed, speech_wav):
    for path in ("transcriptions", "translations"):
        assert httpx.post(f"{keyed.url}/v1/audio/{path}", files={"file": speech_wav}).status_code == 401
    assert httpx.post(f"{keyed.url}/v1/compare", files={"file": speech_wav}).status_code == 401


def test_health_and_the_page_need_no_key_and_the_page_learns_that_one_is_wanted(keyed):
    for path in ("/live", "/ready", "/health", "/"):
        assert httpx.get(keyed.url + path, timeout=30).status_code == 200
    config = httpx.get(f"{keyed.url}/v1/config").json()
    assert config["key_wanted"] and not config["key_accepted"] and config["models"] == []
    config = httpx.get(f"{keyed.url}/v1/config", headers={"X-API-Key": KEY}).json()
    assert config["key_accepted"] and config["models"][0]["id"] == "small"


def test_names_that_resolve_to_this_machine_are_refused_however_they_come(server):
    """DNS rebinding: a page of evil.example whose name has come to mean 127.0.0.1."""
    port = server.url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        answer = httpx.get(f"{server.url}/v1/models", headers={"Host": host})
        assert answer.status_code in (400, 403), host
        assert host == "" or "--allowed_hosts" in answer.json()["error"]["message"]
    for host in ("localhost", "127.0.0.1", "[::1]:8000", "192.168.1.7:80", "LOCALHOST."):
        assert httpx.get(f"{server.url}/v1/models", headers={"Host": host}).status_code == 200
    assert status_of_socket(server, additional_headers={"Host": "evil.example"}) in (400, 403)


def test_pages_of_other_sites_are_refused_on_requests_and_on_sockets(server, speech_wav):
    url = f"{server.url}/v1/audio/transcriptions"
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://[", server.url + ".evil.example"):
        answer = httpx.post(url, files={"file": speech_wav}, headers={"Origin": origin})
        assert answer.status_code == 403 and "--allowed_origins" in answer.json()["error"]["message"]
        assert "access-control-allow-origin" not in answer.headers
        assert status_of_socket(server, origin=origin) == 403
        assert httpx.get(f"{server.url}/live", headers={"Origin": origin}).status_code == 403
    assert httpx.post(url, files={"file": speech_wav}, headers={"Origin": server.url}, timeout=60).status_code == 200
    assert status_of_socket(server, origin=server.url) == 101


def test_allowed_pages_may_ask_beforehand_without_a_key_and_read_the_answers(keyed):
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{keyed.url}/v1/audio/transcriptions", headers=headers)
    assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in answer.headers["access-control-allow-headers"]
    for key, status in ((KEY, 200), ("wrong-key", 401)):
        answer = httpx.get(f"{keyed.url}/v1/models", headers={"Origin": ORIGIN, "Authorization": f"Bearer {key}"})
        assert answer.status_code == status and answer.headers["access-control-allow-origin"] == ORIGIN
    assert httpx.options(f"{keyed.url}/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_proxy_s_name_is_one_that_the_service_goes_by():
    security = Security(hosts=("speech.example.org",), origins=("*",))
    security.check_host("speech.example.org")
    security.check_host("Speech.Example.Org:443")
    security.check_origin("https://anything.example", "speech.example.org")
    with pytest.raises(ServingError, match="allowed_hosts"):
        security.check_host("example.org")
    Security(hosts=("*",)).check_host("anything.example")
    Security().check_origin("https://speech.example.org", "speech.example.org")


def test_a_wrong_key_costs_as_many_comparisons_as_a_right_one(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "deepspeech_training.serving.security.hmac.compare_digest", lambda a, b: bool(compared.append(a)) or a == b
    )
    scope = {"headers": [(b"authorization", b"Bearer key-number-1")], "query_string": b""}
    assert Security(("key-number-1", "key-number-2")).has_key(scope)
    assert len(compared) == 2


def test_odd_ways_to_send_a_key_are_no_faults():
    odd = {"headers": [(b"authorization", b"\xff\xfe \xff"), (b"x-api-key", b"")], "query_string": b"key=%ff&token"}
    assert not Security((KEY,)).has_key({**odd, "subprotocols": ["token"]})
    assert keys_of({"headers": [], "query_string": b"key=a&key=b", "subprotocols": []}) == ["a", "b"]
    with pytest.raises(ServingError):
        Security((KEY,)).check(
            {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b"&" * 999}
        )


def test_keys_come_from_a_file_or_the_environment_and_bad_ones_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPSPEECH_API_KEY", raising=False)
    assert read_keys(None) == ()
    monkeypatch.setenv("DEEPSPEECH_API_KEY", f" {KEY} ")
    assert read_keys(None) == (KEY,)
    path = tmp_path / "keys"
    for text, said in (
        ("", "no key"),
        ("short", "8 ASCII"),
        ("with a space in it", "8 ASCII"),
        ("schlüssel", "8 ASCII"),
    ):
        path.write_text(text)
        with pytest.raises(FlagError, match=said):
            read_keys(str(path))
    with pytest.raises(FlagError, match="cannot be read"):
        read_keys(str(tmp_path / "none"))


def test_other_than_the_loopback_wants_a_key_or_a_word(capsys, make_server, small_model, monkeypatch):
    monkeypatch.delenv("DEEPSPEECH_API_KEY", raising=False)
    assert main.run("serve", ["--model", str(small_model), "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "--no_key" in said and "DEEPSPEECH_API_KEY" in said
    monkeypatch.setenv("DEEPSPEECH_API_KEY", KEY)
    assert main.run("serve", ["--model", str(small_model), "--host", "0.0.0.0", "--wyoming_port", "0"]) == 2
    assert "has no keys" in capsys.readouterr().err
    server = make_server("--model", small_model, "--host", "0.0.0.0")
    url = server.url.replace("0.0.0.0", "127.0.0.1") + "/v1/models"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"X-API-Key": KEY}).status_code == 200


def test_with_certificates_it_speaks_https_and_wss(make_server, small_model, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    server = make_server(
        "--model", small_model, "--certificate", tmp_path / "chain.pem", "--certificate_key", tmp_path / "key.pem"
    )
    assert server.url.startswith("https://")

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert httpx.get(f"{server.url}/v1/models", verify=trusting).status_code == 200
    assert status_of_socket(server, ssl=trusting, origin=server.url) == 101
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/live")
    assert server.stop() == 0


def test_certificates_that_cannot_be_used_are_told_at_once(capsys, small_model, tmp_path):
    (tmp_path / "x.pem").write_text("xyzzy")
    for flags, said in (((), "belong together"), (("--certificate_key", str(tmp_path / "x.pem")), "cannot be used")):
        assert main.run("serve", ["--model", str(small_model), "--certificate", str(tmp_path / "x.pem"), *flags]) == 2
        assert said in capsys.readouterr().err
