"""A real Chromium with a WAV as its microphone, and pages of which every request and every complaint is kept."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

WAITS_MS = 60_000  # the machine may be busy
ARGUMENTS = (
    "--headless=new",  # the other headless mode has no microphone
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP speech.test 127.0.0.1",  # a name that browsers do not take for a secure address
)
# What a media element was asked to play: [seconds at which it began, seconds at which it stopped].
# And the fields of the forms that were sent, without the file.
WATCH = """
window.played = [];
window.forms = [];
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (form) {
  window.forms.push(Object.fromEntries([...form].filter(([, value]) => typeof value === "string")));
  return send.call(this, form);
};
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  const slice = [this.currentTime];
  window.played.push(slice);
  this.addEventListener("pause", () => slice.push(this.currentTime), { once: true });
  return play.call(this);
};
"""


def executable() -> str | None:
    """Debian's Chromium, if it is installed."""
    return shutil.which("chromium")


@contextmanager
def driven() -> Iterator[Playwright]:
    """What drives it; skips the test where it is not installed."""
    if executable() is None:
        pytest.skip("no Chromium to look at the page with: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright


def launch(playwright: Playwright, *arguments: str, microphone: Path | None = None, loops: bool = False) -> Browser:
    """A browser; with a `microphone` it hears that WAV, once each time the microphone is opened, and asks nobody.

    Args:
        loops: it hears it again and again.
    """
    heard = ()
    if microphone is not None:
        heard = (
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}{'' if loops else '%noloop'}",
        )
    return playwright.chromium.launch(executable_path=executable(), args=[*ARGUMENTS, *heard, *arguments])


def with_silence(audio: np.ndarray, rate: int, path: Path, *, before_s: float = 1.0, after_s: float = 2.0) -> Path:
    """A WAV for `launch`: a browser takes a moment to open its microphone, and a sentence ends with a pause."""
    silence = [np.zeros(round(rate * seconds), np.float32) for seconds in (before_s, after_s)]
    soundfile.write(path, np.concatenate([silence[0], audio, silence[1]]), rate, subtype="PCM_16")
    return path


def known_words(text: str, sentence: str) -> int:
    """How many words of 4 letters or more of a sentence a text has: the model of the tests knows the clip that it was
    trained on, but has never heard the silence before and after it, which takes some words of it away."""
    return len({word for word in sentence.split() if len(word) >= 4} & set(text.split()))


class Visit:
    """A page that somebody looks at, with what it complained about and whom it asked."""

    def __init__(self, page: Page):
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.sent: list[str] = []  # text messages of websockets
        page.set_default_timeout(WAITS_MS)
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", self._socket)

    def _console(self, kind: str, text: str) -> None:
        # The browser itself writes each refused request there; whether the page says it is what the tests look at.
        ours = not text.startswith(("Failed to load resource", "WebSocket connection to"))
        if kind in ("error", "warning") and ours:
            self.complaints.append(f"{kind}: {text}")

    def _asked(self, url: str) -> None:
        if urlsplit(url).scheme not in ("blob", "data"):
            self.hosts.add(urlsplit(url).hostname or "")

    def _socket(self, socket: Any) -> None:
        self._asked(socket.url)
        socket.on("framesent", lambda data: self.sent.append(data) if isinstance(data, str) else None)

    def ready(self) -> "Visit":
        self.page.wait_for_selector("#connection.ready")
        return self

    def record(self) -> None:
        """Press Record, and wait until the microphone is open."""
        self.page.click("#record")
        self.page.wait_for_selector("#record.on")

    def stop(self) -> None:
        """Press Stop, and wait for the last words."""
        self.page.click("#record")
        self.page.wait_for_selector("#record.off")

    def until(self, expression: str) -> None:
        """Waits until this is true on the page, whose policy forbids it the waiting of Playwright."""
        deadline = time.monotonic() + WAITS_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            self.page.wait_for_timeout(50)

    def paragraphs(self) -> list[str]:
        """The finished sentences, as they are read."""
        words = "paragraph => [...paragraph.querySelectorAll('.word')].map(word => word.firstChild.data).join(' ')"
        return self.page.eval_on_selector_all(".paragraph .said", f"all => all.map({words})")

    def text(self) -> str:
        return " ".join(self.paragraphs())

    def notice(self, subject: str) -> str:
        """Waits for a sentence about this subject."""
        return self.page.locator(f'.notice[data-subject="{subject}"] p').inner_text()

    def gone(self, subject: str) -> None:
        """Waits until nothing is said about this subject."""
        self.page.wait_for_selector(f'.notice[data-subject="{subject}"]', state="detached")


@contextmanager
def visit(browser: Browser, url: str, **context: Any) -> Iterator[Visit]:
    """Opens the page; in the end it has complained about nothing and asked nobody but this machine."""
    with browser.new_context(**context) as opened:
        page = opened.new_page()
        page.add_init_script(WATCH)
        visitor = Visit(page)
        page.goto(url)
        yield visitor
        assert visitor.complaints == []
        assert visitor.hosts <= {"127.0.0.1", "localhost", "speech.test"}
