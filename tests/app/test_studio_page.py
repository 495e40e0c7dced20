"""The studio in a real Chromium: from a list of texts to a corpus, with lost connections, reloads and two people."""

import csv
import re

import httpx
import pytest
import soundfile
from app.app_process import FLAGS, App
from serving import chromium
from studio.takes import RATE, spoken

TEXTS = "Light on!\nLight off!\nStop\nRoute 66"
CONSENT = "My voice may be used to train models."
LEVEL = "Number(document.getElementById('meter').getAttribute('aria-valuenow'))"
LOUD, QUIET = 45, 20


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An app that waits for data, with the studio of an empty volume."""
    folder = tmp_path_factory.mktemp("volume")
    running = App("--data", folder, "--studio", "--serve_only")
    running.data = folder  # for the tests that look at its files
    yield running
    running.kill()


@pytest.fixture(scope="module")
def playwright():
    with chromium.driven() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright, tmp_path_factory):
    """A browser in which somebody says the same again and again, with pauses."""
    path = tmp_path_factory.mktemp("microphone") / "said.wav"
    soundfile.write(path, spoken("stop", before_s=0.8, after_s=0.8), RATE)
    browser = chromium.launch(playwright, microphone=path, loops=True)
    yield browser
    browser.close()


def open_studio(browser, app, place: str = "", **context):
    return chromium.visit(browser, f"{app.url}/studio{place}", **context)


def make_project(visitor, title: str, *, consent: str = "") -> None:
    page = visitor.ready().page
    page.locator("#new-project").evaluate("details => { details.open = true; }")
    page.fill("#title", title)
    page.fill("#texts", TEXTS)
    page.uncheck("#telling-first")
    page.fill("#consent", consent)
    page.click("text=Make the project")
    page.wait_for_selector("#project:not([hidden])")


def add_person(visitor, name: str) -> None:
    visitor.page.fill("#pseudonym", name)
    visitor.page.click("#person-form button")
    visitor.page.wait_for_selector("#booth:not([hidden])")


def say(visitor, *, press=None) -> None:
    """Record once: from a pause to the next one."""
    press = press or (lambda: visitor.page.click("#record"))
    visitor.until(f"{LEVEL} < {QUIET}")
    press()
    visitor.page.wait_for_selector("#record.on")
    visitor.until(f"{LEVEL} > {LOUD}")
    visitor.until(f"{LEVEL} < {QUIET}")
    press()
    visitor.page.wait_for_selector("#record:not(.on):not(.finishing)")


def prompt(visitor) -> str:
    return visitor.page.locator("#prompt").inner_text()


def test_a_list_of_texts_becomes_a_corpus_by_keyboard_and_a_reload_resumes(browser, app):
    with open_studio(browser, app) as visitor:
        page = visitor.page
        make_project(visitor, "My home", consent=CONSENT)
        assert "Route 66" in visitor.notice("texts") and "as words" in visitor.notice("texts")
        assert page.locator("#consent-text").inner_text() == CONSENT
        page.check("#agreed")
        add_person(visitor, "Anna")
        assert prompt(visitor) == "Light on!"
        say(visitor, press=lambda: page.keyboard.press("Space"))
        assert prompt(visitor) == "Light off!"
        assert re.fullmatch(r"Saved: \d\.\d s\.", page.locator("#remarks").inner_text())
        page.keyboard.press("ArrowRight")  # it is skipped
        assert prompt(visitor) == "Stop"
        say(visitor)
        assert prompt(visitor) == "Light off!"  # that is left
        page.reload()
        visitor.ready()
        assert prompt(visitor) == "Light off!"
        assert "2 recorded" in page.locator("#done").inner_text()
        say(visitor)
        assert "All are recorded" in page.locator("#done").inner_text()

        page.keyboard.press("ArrowLeft")
        page.keyboard.press("h")
        visitor.until("window.played.length === 1 && window.played[0].length === 2")  # it was heard to its end
        assert page.locator("#record-label").inner_text() == "Record again"

        page.click("#leave")
        page.click("#save")
        page.wait_for_selector("#saved li")
        assert "my-home" in page.locator("#saved p").inner_text()
        assert re.match(r"train: 3 clips, \d+ s, 1 person", page.locator("#saved li").inner_text())
    with open(app.data / "corpora" / "my-home" / "train.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["original"] for row in rows) == ["Light off!", "Light on!", "Stop"]
    assert {row["speaker"] for row in rows} == {"anna"}


def test_what_cannot_be_sent_is_kept_in_the_browser_and_sent_when_the_page_is_opened_again(browser, app):
    with open_studio(browser, app) as visitor:
        page = visitor.page
        make_project(visitor, "Cellar")
        add_person(visitor, "Bo")
        page.route("**/takes/**", lambda route: route.abort())
        say(visitor)
        assert prompt(visitor) == "Light off!"
        assert "1 take waits to be sent, kept in this browser" in visitor.notice("waiting")
        page.click("#back")
        page.click("#hear")  # also what the service does not have yet
        visitor.until("window.played.length === 1")
        other = page.context.new_page()
        page.close()
        assert app.get("/v1/studio/projects/cellar/people/bo").json()["takes"] == {}
        again = chromium.Visit(other)
        other.goto(f"{app.url}/studio#/cellar/bo")
        again.ready()
        assert prompt(again) == "Light off!"
        assert "1 recorded" in other.locator("#done").inner_text()
        again.gone("waiting")
    assert list(app.get("/v1/studio/projects/cellar/people/bo").json()["takes"]) == ["0"]


@pytest.mark.slow
def test_two_people_read_at_once_and_on_a_phone(browser, app):
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    with open_studio(browser, app) as anna, open_studio(browser, app, **phone) as bo:
        make_project(anna, "Kitchen")
        add_person(anna, "Anna")
        bo.page.goto(f"{app.url}/studio#/kitchen")
        bo.page.wait_for_selector("#project:not([hidden])")
        add_person(bo, "Bo")
        for visitor in (anna, bo):
            say(visitor)
            assert prompt(visitor) == "Light off!"
        assert bo.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        bo.page.click("text=Training status")
        bo.page.click("text=Studio")
        bo.ready().page.wait_for_selector("#projects:not([hidden])")
    people = app.get("/v1/studio/projects/kitchen").json()["people"]
    assert [(person["pseudonym"], person["takes"]) for person in people] == [("Anna", 1), ("Bo", 1)]


@pytest.mark.slow
def test_what_is_wrong_is_told_at_once_and_the_text_stays(playwright, app, tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, (spoken("stop", before_s=0.8, after_s=0.8) * 9.0).clip(-32768, 32767).astype("int16"), RATE)
    browser = chromium.launch(playwright, microphone=path, loops=True)
    with open_studio(browser, app) as visitor:
        make_project(visitor, "Hall")
        add_person(visitor, "Anna")
        say(visitor)
        assert "Too loud" in visitor.page.locator("#remarks").inner_text()
        assert prompt(visitor) == "Light on!"
        assert visitor.page.locator("#next").inner_text() == "Next"
    browser.close()


def test_an_app_that_trains_nothing_says_so(app):
    told = app.get("/v1/training").json()
    assert (told["status"], told["can_train"], told["is_paused"]) == ("waiting", False, False)
    answer = httpx.post(f"{app.url}/v1/training", json={"action": "start"}, timeout=30)
    assert answer.status_code == 400 and "--serve_only" in answer.json()["error"]["message"]


@pytest.mark.slow
def test_what_was_recorded_is_trained_on_stopped_resumed_and_talked_to(browser, start_app, tmp_path):
    (tmp_path / "train.flags").write_text("\n".join((*FLAGS[:-1], "--epochs 60")), encoding="utf-8")
    app = start_app("--data", tmp_path, "--studio")
    with open_studio(browser, app) as visitor:
        page = visitor.page
        make_project(visitor, "My home")
        add_person(visitor, "Anna")
        for _ in range(2):
            say(visitor)
        page.click("#leave")
        page.click("#train")
        page.wait_for_selector("#training-bar:not([hidden])")
        page.click("text=Stop training")
        page.wait_for_selector("text=Save and resume the training")
        assert "stopped in the studio" in page.locator("#training").inner_text()
        stopped_at = app.status["run"]["epoch"]
        assert app.get("/ready").status_code == 503 and stopped_at < 60
        page.click("text=Save and resume the training")
        page.wait_for_selector("#talk:not([hidden])", timeout=2 * chromium.WAITS_MS)
        assert app.status["run"]["epoch"] == 60 and "Resumes from" in app.said
        page.click("#talk")
        visitor.ready()

        # More is recorded: a model that is served is no reason not to train.
        page.goto(f"{app.url}/studio#/my-home/anna")
        say(visitor)
        page.click("#leave")
        page.click("#train")
        app.until(lambda: len(list((tmp_path / "models" / "speech").glob("[0-9]*"))) == 2)
    assert app.end() == 0


@pytest.mark.slow
def test_a_microphone_that_vanishes_keeps_what_was_said_and_a_person_who_leaves_is_deleted(browser, app):
    keep = "const get = MediaDevices.prototype.getUserMedia; MediaDevices.prototype.getUserMedia = async function (c) {"
    keep += " window.stream = await get.call(this, c); return window.stream; }; 0"
    with open_studio(browser, app) as visitor:
        page = visitor.page
        page.evaluate(keep)
        make_project(visitor, "Garage")
        add_person(visitor, "Anna")
        page.click("#record")
        page.wait_for_selector("#record.on")
        visitor.until(f"{LEVEL} > {LOUD}")
        visitor.until(f"{LEVEL} < {QUIET}")
        page.evaluate("window.stream.getTracks()[0].dispatchEvent(new Event('ended'))")
        assert "What was recorded is kept" in visitor.notice("microphone")
        page.wait_for_selector("#record:not(.on):not(.finishing)")
        assert app.get("/v1/studio/projects/garage").json()["num_takes"] == 1
        say(visitor)  # it is plugged in again
        page.click("#leave")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("button[aria-label='Delete Anna']")
        page.wait_for_selector("#people:empty", state="attached")
    assert app.get("/v1/studio/projects/garage").json()["num_takes"] == 0
    assert not list((app.data / "studio" / "garage" / "takes").iterdir())


@pytest.mark.slow
def test_what_was_recorded_is_listened_to_dropped_mended_and_undone(browser, app):
    with open_studio(browser, app) as visitor:
        page = visitor.page
        make_project(visitor, "Attic")
        add_person(visitor, "Anna")
        for _ in range(2):
            say(visitor)
        page.click("#leave")
        page.click("#check-link")
        page.wait_for_selector("#check-list li >> nth=1")
        page.click("#check-list button >> nth=0")
        visitor.until("window.played.length === 1")
        page.click("#check-list button:has-text('Drop') >> nth=0")
        page.wait_for_selector("#check-list li.dropped")
        assert page.evaluate("document.activeElement.textContent") == "Keep"
        page.fill("#check-list input >> nth=1", "Light out!")
        page.keyboard.press("Tab")
        page.wait_for_selector("text=shown was: Light")
        page.click("#check-undo")
        page.wait_for_selector("text=shown was: Light", state="detached")
        page.click("#check-undo")
        page.wait_for_selector("#check-list li.dropped", state="detached")
        assert page.locator("#check-undo").is_disabled()
        page.fill("#check-list input >> nth=0", "Route 66")
        page.keyboard.press("Tab")
        assert "as words" in visitor.notice("check")
