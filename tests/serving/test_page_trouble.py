"""The page at `/` in a real Chromium when something is wrong: it says what, and how to fix it."""

import io
import json
import socket

import httpx
import numpy as np
import pytest
import soundfile
from serving import chromium
from websockets.sync.client import connect

SENTENCE = "she had your dark suit in greasy wash water all year"
KEY = "open-sesame"
# A stream whose sockets are on the page itself, so that a test is the server; the rate is 1000 Hz.
STREAM = """
async (seconds) => {
  const { SpeechStream } = await import("/pages/js/stream.js");
  const it = { events: [], texts: [], sockets: [] };
  class Socket {
    sent = 0;
    bufferedAmount = 0;
    readyState = WebSocket.OPEN;
    constructor() { it.sockets.push(this); }
    send(data) {
      if (typeof data !== "string") this.sent += data.length;
      else if (JSON.parse(data).type === "ping") this.say({ type: "pong", lag_s: 0 });
    }
    close() {}
    open() {
      this.onopen();
      for (let i = 0; i < 2; i++) this.say({ type: "ready" });
    }
    say(message) { this.onmessage({ data: JSON.stringify(message) }); }
    final(word, start) {
      const words = [{ word, start, end: start + 1 }];
      this.say({ type: "final", text: word, words, start: start - 1, end: start + 2 });
    }
  }
  it.stream = new SpeechStream({ webSocket: () => new Socket() }, {}, 1000);
  it.stream.addEventListener("lost", ({ detail }) => it.events.push(["lost", detail.start, detail.end]));
  it.stream.addEventListener("final", ({ detail }) => {
    if (detail.words.length) it.events.push([detail.text, detail.words[0].start]);
    else it.texts.push(detail.text);
  });
  it.stream.start();
  it.push = (seconds) => { for (let i = 0; i < 10 * seconds; i++) it.stream.push(new Int16Array(100).buffer); };
  it.push(seconds);
  return it;
}
"""


@pytest.fixture(scope="module")
def browser(playwright, tmp_path_factory):
    """A browser whose microphone gives a second of noise and then nothing."""
    noise = (0.05 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
    path = chromium.with_silence(noise, 16000, tmp_path_factory.mktemp("noise") / "noise.wav")
    browser = chromium.launch(playwright, microphone=path)
    yield browser
    browser.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_microphone_that_is_blocked_or_missing_is_told_and_how_to_mend_it(playwright, server):
    blocked = chromium.launch(playwright, "--use-fake-device-for-media-stream", "--deny-permission-prompts")
    with chromium.visit(blocked, server.url) as visitor:
        visitor.ready().page.click("#record")
        assert "blocked" in visitor.notice("microphone")
        assert visitor.page.inner_text("#record-label") == "Record"
    blocked.close()
    without = chromium.launch(playwright, "--use-fake-ui-for-media-stream")
    with chromium.visit(without, server.url) as visitor:
        visitor.ready().page.click("#record")
        assert "No microphone was found" in visitor.notice("microphone")
    without.close()


def test_audio_that_does_not_start_is_told(browser, server):
    """As in Firefox on a machine without any loudspeaker; the seconds of waiting are cut short."""
    with chromium.visit(browser, server.url) as visitor:
        visitor.ready().page.evaluate(
            """() => {
              AudioContext.prototype.resume = () => new Promise(() => {});
              const wait = setTimeout;
              window.setTimeout = (act, ms) => wait(act, Math.min(ms, 200));
            }"""
        )
        visitor.page.click("#record")
        assert "does not start its audio" in visitor.notice("microphone")
        assert visitor.page.inner_text("#record-label") == "Record"


def test_an_insecure_address_is_told_and_files_work_there(browser, make_server, small_model, speech_wav):
    server = make_server("--model", small_model, "--allowed_hosts", "speech.test")
    with chromium.visit(browser, server.url.replace("127.0.0.1", "speech.test")) as visitor:
        visitor.ready().page.click("#record")
        told = visitor.notice("microphone")
        assert "HTTPS" in told
        assert f"http://localhost:{server.url.rpartition(':')[2]}" in told
        visitor.page.set_input_files("#file", {"name": "a.wav", "mimeType": "audio/wav", "buffer": speech_wav})
        visitor.page.wait_for_selector("#sound:not([hidden])")


@pytest.mark.slow
def test_a_server_that_comes_back_hears_what_was_said_meanwhile(
    playwright, make_server, spoken_model, spoken_scorer, spoken_clip, tmp_path
):
    audio, rate = soundfile.read(spoken_clip, dtype="float32")
    microphone = chromium.with_silence(audio, rate, tmp_path / "said.wav", before_s=2.0, after_s=2.5)
    browser = chromium.launch(playwright, microphone=microphone)
    flags = ("--model", spoken_model, "--scorer", spoken_scorer, "--port", free_port())
    server = make_server(*flags)
    with chromium.visit(browser, server.url) as visitor:
        visitor.ready().record()
        visitor.page.wait_for_timeout(500)
        server.kill()
        assert "the last 30 seconds are kept" in visitor.notice("line")
        visitor.page.wait_for_timeout(3000)  # the sentence is said while nobody hears it
        make_server(*flags)
        visitor.page.wait_for_selector(".paragraph .word")
        visitor.gone("line")
        visitor.stop()
        assert chromium.known_words(visitor.text(), SENTENCE) >= 1  # none of them is in the text of a noise
        assert visitor.page.locator(".lost").count() == 0
    browser.close()


@pytest.fixture
def paced(browser, server):
    """A page on which the test says how time goes by."""
    with chromium.visit(browser, server.url) as visitor:
        visitor.ready().page.clock.install()
        yield visitor.page


def test_what_a_break_has_cost_is_told_to_the_second(paced):
    late = paced.evaluate_handle(STREAM, 40)  # the connection is there after 40 s, of which 30 are kept
    late.evaluate("it => it.sockets[0].open()")
    assert late.evaluate("it => it.events") == [["lost", 0, 10]]
    paced.clock.run_for(1000)
    assert 5000 <= late.evaluate("it => it.sockets[0].sent") < 20000  # faster than it was said, but not all at once
    late.evaluate("it => it.sockets[0].final('a', 1)")
    assert late.evaluate("it => it.events.at(-1)") == ["a", 11]  # times are those of the recording

    late.evaluate("it => it.sockets[0].onclose({ code: 1012 })")
    paced.clock.run_for(1000)
    late.evaluate("it => it.sockets[1].open()")
    paced.clock.run_for(10000)
    assert (
        late.evaluate("it => it.sockets[1].sent") == 27000
    )  # all since the last finished sentence, which ended at 13 s
    late.evaluate("it => it.sockets[1].final('b', 1)")
    assert late.evaluate("it => it.events.slice(-2)") == [["a", 11], ["b", 14]]  # and nothing was lost
    late.evaluate("it => it.stream.abort()")


def test_of_a_sentence_longer_than_what_is_kept_the_text_stands(paced):
    long = paced.evaluate_handle(STREAM, 0)
    long.evaluate("it => it.sockets[0].open()")
    for second in range(5, 45, 5):
        long.evaluate("it => it.push(5)")
        said = {"type": "partial", "text": f"heard {second}", "stable": "heard", "start": 0.5, "heard": second}
        long.evaluate("(it, said) => it.sockets[0].say(said)", said)
        paced.clock.run_for(5000)
    long.evaluate("it => it.push(2)")
    long.evaluate("it => it.sockets[0].onclose({ code: 1006 })")
    paced.clock.run_for(1000)
    long.evaluate("it => it.sockets[1].open()")
    paced.clock.run_for(1000)
    assert long.evaluate("it => it.texts") == ["heard 40"]
    assert long.evaluate("it => it.sockets[1].sent") == 2000  # what came after that
    assert long.evaluate("it => it.events") == []  # nothing was lost
    long.evaluate("it => it.stream.abort()")


def test_silence_is_not_lost_when_the_line_breaks(paced):
    quiet = paced.evaluate_handle(STREAM, 0)
    quiet.evaluate("it => it.sockets[0].open()")
    for _ in range(20):
        quiet.evaluate("it => it.push(5)")
        paced.clock.run_for(5000)
    quiet.evaluate("it => it.sockets[0].onclose({ code: 1012 })")
    paced.clock.run_for(1000)
    quiet.evaluate("it => it.sockets[1].open()")
    assert quiet.evaluate("it => it.events") == []
    quiet.evaluate("it => it.stream.abort()")


def test_a_key_is_asked_for_and_kept_for_this_tab_only(browser, make_server, small_model, speech_wav):
    server = make_server("--model", small_model, environment={"DEEPSPEECH_API_KEY": KEY})
    with chromium.visit(browser, server.url) as visitor:
        page = visitor.page
        page.fill("#key", "wrong-key")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-why >> text=not the one of this server")
        page.keyboard.press("Escape")
        assert "key" in visitor.notice("key")
        page.click('.notice[data-subject="key"] button')
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        visitor.ready()
        visitor.gone("key")
        assert KEY not in page.url
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        visitor.record()
        visitor.until("document.getElementById('clock').textContent !== '0:00'")
        visitor.stop()
        assert page.locator(".notice").count() == 0
        page.set_input_files("#file", {"name": "a.wav", "mimeType": "audio/wav", "buffer": speech_wav})
        page.wait_for_selector("#sound:not([hidden])")
        page.reload()
        visitor.ready()
    with chromium.visit(browser, server.url) as visitor:
        visitor.page.wait_for_selector("#key-dialog[open]")
    assert KEY not in server.out + server.err


def test_a_file_that_cannot_be_read_is_told_in_the_words_of_the_server(browser, server):
    files = {"file": ("letter.wav", io.BytesIO(b"Hello friends, this is no sound at all."))}
    refused = httpx.post(f"{server.url}/v1/audio/transcriptions", files=files, timeout=60).json()["error"]["message"]
    with chromium.visit(browser, server.url) as visitor:
        page = visitor.ready().page
        page.click("#compare")
        assert "record something or choose a file first" in visitor.notice("file")
        letter = {"name": "letter.wav", "mimeType": "audio/wav", "buffer": files["file"][1].getvalue()}
        page.set_input_files("#file", letter)
        page.wait_for_selector(f"text={refused.splitlines()[0]}")
        page.click('.notice[data-subject="file"] button')
        visitor.gone("file")


@pytest.mark.slow
def test_a_busy_server_is_told_and_tried_again(browser, make_server, small_model):
    server = make_server("--model", small_model, "--max_sessions", 1)
    with chromium.visit(browser, server.url) as visitor:
        visitor.ready()
        with connect(f"{server.ws_url}/v1/stream") as other:
            json.loads(other.recv(timeout=30))
            visitor.record()
            assert "busy" in visitor.notice("line")
        visitor.gone("line")
        visitor.stop()


@pytest.mark.slow
def test_a_slow_line_is_told(browser, server):
    with chromium.visit(browser, server.url) as visitor:
        page = visitor.ready().page
        page.evaluate(
            "Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { get: () => 1e6, configurable: true })"
        )
        visitor.record()
        assert "network is slower" in visitor.notice("behind")
        page.evaluate("Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { get: () => 0 })")
        visitor.gone("behind")
        visitor.stop()
