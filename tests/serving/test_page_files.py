"""The files of the page: what is served, with which headers, and that nothing in them needs another host."""

import os
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deepspeech_training.serving import pages

FOLDER = resources.files("deepspeech_training.serving") / "pages"
JS = Path(str(FOLDER)) / "js"
MODULES = sorted(str(path.relative_to(JS)) for path in JS.rglob("*.js"))
STYLES = sorted(entry.name for entry in (FOLDER / "css").iterdir())
PAGES = {"/": "index.html", "/status": "status.html", "/studio": "studio.html"}
ROUTES = [*pages.routes(), *(pages.page_route(path, PAGES[path]) for path in ("/status", "/studio"))]


@pytest.fixture(scope="module")
def client():
    return TestClient(Starlette(routes=ROUTES))


def test_each_file_of_the_folder_is_served_with_its_type_and_the_policy(client):
    addresses = {**dict.fromkeys(PAGES, "text/html"), "/pages/icon.svg": "image/svg+xml"}
    addresses |= {f"/pages/css/{name}": "text/css" for name in STYLES}
    addresses |= {f"/pages/js/{name}": "text/javascript" for name in MODULES}
    assert {route.path for route in ROUTES} == set(addresses)
    for address, media_type in addresses.items():
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_each_file_is_packed_into_a_wheel():
    root = Path(__file__).resolve().parents[2]
    packed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    found = {path for pattern in packed["deepspeech_training"] for path in (root / "deepspeech_training").glob(pattern)}
    assert found >= {path for path in Path(str(FOLDER)).rglob("*") if path.is_file()}


def test_what_a_browser_has_already_is_not_sent_again(client):
    first = client.get("/pages/css/base.css")
    again = client.get("/pages/css/base.css", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/pages/css/base.css", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/pages/", "/pages/index.html", "/pages/js", "/pages/../pages.py", "/pages/%2e%2e/pages.py", "/pages/js//main.js"],
)
def test_no_path_of_a_request_becomes_a_path_of_a_file(client, path):
    assert client.get(path).status_code == 404


def test_only_get_and_head_are_answered(client):
    assert client.head("/").status_code == 200
    assert client.post("/").status_code == 405


@pytest.mark.parametrize(
    "name", [*PAGES.values(), *(f"css/{name}" for name in STYLES), *(f"js/{name}" for name in MODULES)]
)
def test_a_file_of_the_page_names_no_other_host_and_keeps_to_the_policy(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    # http://localhost is what a sentence advises; w3.org is a name, not an address.
    assert not re.search(r"(https?:)?//(?!localhost|www\.w3\.org)[a-z0-9-]+\.[a-z]", text)
    assert not re.search(r"\b(eval|innerHTML|outerHTML|insertAdjacentHTML|document\.write|Function)\b", text)
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)


def test_each_module_imports_what_is_there():
    for name in MODULES:
        assert imported(name) <= set(MODULES), name


def imported(name: str) -> set[str]:
    """The modules that a module imports."""
    text = (JS / name).read_text(encoding="utf-8")
    found = re.findall(r'from "(\.[^"]+)"', text)
    return {os.path.normpath(Path(name).parent / path) for path in found}


def all_below(name: str) -> set[str]:
    """A module and all that it needs."""
    found, new = set(), {name}
    while new:
        found |= new
        new = set().union(*map(imported, new)) - found
    return found


def test_the_pages_name_each_style_sheet_and_load_each_module():
    named, loaded = set(), {"microphone-worklet.js"}  # which an address loads
    for name in PAGES.values():
        html = (FOLDER / name).read_text(encoding="utf-8")
        named |= set(re.findall(r'href="pages/css/([^"]+)"', html))
        loaded |= all_below(re.search(r'src="pages/js/([^"]+)"', html)[1])
    assert sorted(named) == STYLES and sorted(loaded) == MODULES


@pytest.mark.parametrize("page", PAGES.values())
def test_each_element_that_a_module_looks_for_is_on_its_page(page):
    html = (FOLDER / page).read_text(encoding="utf-8")
    identifiers = re.findall(r'\sid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    for name in all_below(re.search(r'src="pages/js/([^"]+)"', html)[1]):
        text = (JS / name).read_text(encoding="utf-8")
        assert set(re.findall(r'byId\("([^"]+)"\)', text)) <= set(identifiers), name
