"""The page at `/` in a real Chromium, with a WAV as its microphone: what one does with it."""

import base64
import io
import itertools
import json
import math
import re

import httpx
import numpy as np
import pytest
import soundfile
from serving import chromium

SENTENCE = "she had your dark suit in greasy wash water all year"
SAID = {"before_s": 1.0, "after_s": 2.5}
# The relative luminance and the contrast of WCAG 2.1.
CONTRAST = """
([ink, paper]) => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.body.appendChild(document.createElement("span"));
  const [a, b] = [ink, paper].map((name) => {
    probe.style.color = `var(${name})`;
    return luminance(getComputedStyle(probe).color);
  });
  probe.remove();
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
"""


@pytest.fixture(scope="module")
def microphone(spoken_clip, tmp_path_factory):
    """SENTENCE, as a microphone hears it."""
    audio, rate = soundfile.read(spoken_clip, dtype="float32")
    return chromium.with_silence(audio, rate, tmp_path_factory.mktemp("said") / "said.wav", **SAID)


@pytest.fixture(scope="module")
def browser(playwright, microphone):
    """A browser whose microphone says SENTENCE."""
    browser = chromium.launch(playwright, microphone=microphone)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page_url(spoken_server):
    return spoken_server.url


@pytest.fixture(scope="module")
def visitor(browser, page_url):
    """One page for the tests that only look at it."""
    with chromium.visit(browser, page_url) as visitor:
        yield visitor.ready()


def answer_of(url: str, path, **fields) -> dict:
    """What the server says of a file, asked without the page."""
    form = {"response_format": "verbose_json", "timestamp_granularities[]": "word", **fields}
    with open(path, "rb") as file:
        answer = httpx.post(f"{url}/v1/audio/transcriptions", data=form, files={"file": (path.name, file)}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def choose(visitor: chromium.Visit, path) -> None:
    """Choose a file and wait for its words."""
    visitor.page.set_input_files("#file", path)
    visitor.page.wait_for_selector(".paragraph .word")
    visitor.page.wait_for_selector("#sound:not([hidden])")


def test_what_is_said_appears_while_it_is_said_and_can_be_heard_word_by_word(browser, page_url):
    with chromium.visit(browser, page_url) as visitor:
        page = visitor.ready().page
        page.evaluate("""
          window.partials = [];
          new MutationObserver(() => {
            const line = document.getElementById("partial");
            if (!line.hidden) window.partials.push([stable.textContent, rest.textContent]);
          }).observe(document.getElementById("partial"), { subtree: true, childList: true, characterData: true });
        """)
        visitor.record()
        page.wait_for_selector(".paragraph .word")  # the sentence ends by itself, at the pause
        assert page.locator("#meter").get_attribute("aria-valuenow") is not None
        visitor.stop()
        text = visitor.text()
        assert chromium.known_words(text, SENTENCE) >= 3
        partials = page.evaluate("window.partials")
        assert len(partials) > 2
        stable = [stable for stable, _ in partials if stable]
        assert all(text.startswith(prefix) for prefix in stable), "stable text was taken back"
        assert page.locator("#announcer p").inner_text() == text  # what a screen reader is told

        start = json.loads(visitor.sent[0])
        assert start["type"] == "start"
        assert start["rate"] == page.evaluate("new AudioContext().sampleRate")

        words = page.evaluate("[...document.querySelectorAll('.paragraph .word')].map((word) => word.title)")
        assert len(words) == len(text.split())
        assert all(re.fullmatch(r"\w+, \d:\d\d\.\d\d to \d:\d\d\.\d\d, \d+ % sure", title) for title in words)
        dark = text.split().index("dark")
        page.click(f".paragraph .word >> nth={dark}")
        visitor.until("window.played.length === 1 && window.played[0].length === 2")
        began, ended = page.evaluate("window.played[0]")
        from_s, to_s = (float(text) for text in re.findall(r"0:(\d\d\.\d\d)", words[dark]))
        assert began == pytest.approx(from_s - 0.05, abs=0.05)
        assert to_s <= ended < to_s + 1.5  # a busy machine hears the end late
        assert (
            page.locator("#waveform")
            .get_attribute("aria-valuetext")
            .startswith(f"word {dark + 1} of {len(words)}: dark")
        )


def test_another_sound_gives_another_text(playwright, page_url, tmp_path):
    rng = np.random.default_rng(0)
    noise = (0.05 * rng.standard_normal(32000)).astype(np.float32)
    other = chromium.with_silence(noise, 16000, tmp_path / "noise.wav", before_s=0.5, after_s=0.5)
    browser = chromium.launch(playwright, microphone=other)
    with chromium.visit(browser, page_url) as visitor:
        visitor.ready().record()
        visitor.until("parseFloat(document.getElementById('clock').textContent.split(':')[1]) >= 3")
        visitor.stop()
        assert chromium.known_words(visitor.text(), SENTENCE) <= 1  # a model with one sentence finds its words anywhere
    browser.close()


def test_a_chosen_file_shows_what_the_server_answers(browser, page_url, spoken_clip):
    expected = answer_of(page_url, spoken_clip, alternatives=3)
    with chromium.visit(browser, page_url) as visitor:
        page = visitor.ready().page
        choose(visitor, spoken_clip)
        assert visitor.text() == expected["text"] == SENTENCE
        page.click("#word-list summary")
        page.wait_for_selector("#word-rows tr")
        rows = page.eval_on_selector_all(
            "#word-rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert [row[0] for row in rows] == [word["word"] for word in expected["words"]]
        assert [row[3] for row in rows] == [
            f"{math.floor(100 * word['confidence'] + 0.5)} %" for word in expected["words"]
        ]
        page.click(".others summary")
        others = page.eval_on_selector_all(".others li span:first-child", "all => all.map(one => one.textContent)")
        assert others == [other["text"] for other in expected["alternatives"][0][1:]]

        page.click("#compare")
        page.wait_for_selector("#compared article")
        with open(spoken_clip, "rb") as file:
            compared = httpx.post(f"{page_url}/v1/compare", files={"file": file}, timeout=120).json()
        texts = page.eval_on_selector_all("#compared .said", "all => all.map(one => one.textContent)")
        assert texts == [compared["greedy"], compared["without_scorer"], compared["text"]]


def test_a_dropped_file_is_transcribed(browser, page_url, spoken_clip):
    with chromium.visit(browser, page_url) as visitor:
        page = visitor.ready().page
        transfer = page.evaluate_handle(
            """(content) => {
              const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
              const transfer = new DataTransfer();
              transfer.items.add(new File([bytes], "dropped.wav", { type: "audio/wav" }));
              return transfer;
            }""",
            base64.b64encode(spoken_clip.read_bytes()).decode(),
        )
        page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
        assert page.is_visible("#drop")
        page.dispatch_event("main", "drop", {"dataTransfer": transfer})
        page.wait_for_selector(".paragraph .word")
        assert page.is_hidden("#drop")
        assert visitor.text() == SENTENCE


def test_the_transcript_is_taken_along_as_text_subtitles_and_json(browser, page_url, spoken_clip):
    expected = answer_of(page_url, spoken_clip, response_format="verbose_json")
    with open(spoken_clip, "rb") as file:
        form = {"response_format": "srt"}
        subtitles = httpx.post(f"{page_url}/v1/audio/transcriptions", data=form, files={"file": file}, timeout=120).text
    with chromium.visit(browser, page_url, permissions=["clipboard-read", "clipboard-write"]) as visitor:
        page = visitor.ready().page
        page.click("#copy")
        assert "no text yet" in visitor.notice("file")
        choose(visitor, spoken_clip)

        def saved(button: str) -> str:
            with page.expect_download() as download:
                page.click(button)
            assert download.value.suggested_filename.startswith(spoken_clip.stem)
            return download.value.path().read_text(encoding="utf-8")

        assert saved("#save-text") == SENTENCE + "\n"
        assert saved("#save-srt").strip() == subtitles.strip()
        found = json.loads(saved("#save-json"))
        assert [word["text"] for word in found["utterances"][0]["words"]] == [
            word["word"] for word in expected["words"]
        ]
        page.click("#copy")
        visitor.until("document.getElementById('copy').textContent === 'Copied'")
        assert page.evaluate("navigator.clipboard.readText()") == SENTENCE + "\n"


def test_the_keyboard_alone_is_enough(browser, page_url, spoken_clip):
    with chromium.visit(browser, page_url) as visitor:
        page = visitor.ready().page

        def tab_to(identifier: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.id") == identifier:
                    return
            raise AssertionError(f"Tab does not come to {identifier}")

        tab_to("record")
        page.keyboard.press("Enter")
        page.wait_for_selector("#record.on")
        page.wait_for_selector(".paragraph .word")
        page.keyboard.press("Space")
        page.wait_for_selector("#record.off")
        with page.expect_file_chooser() as chooser:
            tab_to("choose")
            page.keyboard.press("Enter")
        chooser.value.set_files(spoken_clip)
        page.wait_for_selector("text=LDC93S1.wav")
        page.wait_for_selector(".paragraph .word")
        tab_to("waveform")
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Enter"):
            page.keyboard.press(key)
        visitor.until("window.played.length === 1")
        assert page.evaluate("document.activeElement.getAttribute('aria-valuetext')").startswith("word 11 of 11: year")
        page.locator('.paragraph .word[tabindex="0"]').focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        visitor.until("window.played.length === 2")
        assert page.evaluate("document.activeElement.textContent").startswith("had")


def test_settings_are_those_of_the_next_recognition_and_stay_with_the_tab(browser, page_url, spoken_clip):
    with chromium.visit(browser, page_url) as visitor:
        page = visitor.ready().page
        page.fill('[name="beam_width"]', "20")
        page.fill('[name="alpha"]', "0.5")
        page.click("#add-hot")
        page.keyboard.type("greasy")
        page.uncheck('[name="endpointing"]')
        choose(visitor, spoken_clip)
        (form,) = page.evaluate("window.forms")
        assert form.items() >= {"beam_width": "20", "alpha": "0.5", "hot_words": '{"greasy":5}', "scorer": "1"}.items()
        visitor.record()
        visitor.until("document.getElementById('clock').textContent !== '0:00'")
        visitor.stop()
        start = json.loads(visitor.sent[0])
        assert (start["beam_width"], start["alpha"], start["hot_words"], start["endpointing"]) == (
            20,
            0.5,
            {"greasy": 5},
            0,
        )
        assert "hangover_s" not in start

        page.reload()
        visitor.ready()
        assert page.input_value('[name="beam_width"]') == "20"
        assert page.input_value("#hot-list input") == "greasy"
        assert page.evaluate("localStorage.length") == 0

        page.fill('[name="beam_width"]', "99999")
        page.click("#record")
        assert "Beam width" in visitor.notice("settings")


def test_of_a_long_recording_the_last_minutes_are_kept_and_can_be_heard(visitor):
    kept = visitor.page.evaluate("""async () => {
      const { Recording } = await import("/pages/js/recording.js");
      const recording = new Recording(20);
      for (let second = 0; second < 700; second++) recording.push(new Int16Array(20).fill(second).buffer);
      const wav = [...new Uint8Array(await recording.toWav().arrayBuffer())];
      const tail = [...recording.tail(2)].map((sample) => Math.round(32768 * sample));
      return { start: recording.startS, seconds: recording.seconds, tail: [tail.length, tail[0], tail.at(-1)], wav };
    }""")
    assert (kept["start"], kept["seconds"], kept["tail"]) == (100, 700, [40, 698, 699])
    audio, rate = soundfile.read(io.BytesIO(bytes(kept["wav"])), dtype="int16")
    assert (rate, len(audio), audio[0], audio[-1]) == (20, 600 * 20, 100, 699)


def test_what_the_model_is_can_be_read(visitor, spoken_server):
    facts = visitor.page.locator("#facts").inner_text()
    for part in ("output_graph_nodrop", "16 kHz", "not measured", "pruned_lm.scorer", "a b c", "(28)"):
        assert part in facts


def test_nothing_that_can_be_used_is_without_a_name(visitor):
    nameless = visitor.page.evaluate("""
      [...document.querySelectorAll("button, input, select, canvas[tabindex], [role=region], main, aside, section")]
        .filter((part) => {
          const named = part.ariaLabel || part.getAttribute("aria-labelledby") || part.textContent.trim();
          return !(named || [...(part.labels ?? [])].some((label) => label.textContent.trim()));
        }).map((part) => part.outerHTML)
    """)
    assert nameless == []
    # A clock that ticks is not read out each second.
    assert visitor.page.locator("output, [aria-live]:not(#announcer)").count() == 0
    levels = visitor.page.eval_on_selector_all("h1, h2, h3", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(visitor, scheme):
    visitor.page.emulate_media(color_scheme=scheme)
    for ink in ("--text", "--quiet", "--rest", "--accent", "--warn"):
        for paper in ("--paper", "--panel"):
            assert visitor.page.evaluate(CONTRAST, [ink, paper]) >= 4.5, f"{ink} on {paper} in the {scheme} scheme"
    for ink, paper in (("--accent-text", "--accent"), ("--warn", "--warn-back"), ("--text", "--tint")):
        assert visitor.page.evaluate(CONTRAST, [ink, paper]) >= 4.5, f"{ink} on {paper} in the {scheme} scheme"


def test_a_phone_needs_no_sideways_scrolling(browser, page_url, spoken_clip):
    size = {"width": 360, "height": 740}
    with chromium.visit(browser, page_url, viewport=size, device_scale_factor=2, has_touch=True) as visitor:
        page = visitor.ready().page
        choose(visitor, spoken_clip)
        page.click("#compare")
        page.wait_for_selector("#compared article")
        for panel in page.locator(".panel > summary").all():
            panel.click()
        page.click("#add-hot")
        page.keyboard.type("incomprehensibilities" * 3)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        small = page.evaluate("""
          [...document.querySelectorAll("button, select, summary")].filter((part) => part.offsetParent)
            .filter((part) => part.getBoundingClientRect().height < 24).map((part) => part.outerHTML)
        """)
        assert small == []  # WCAG 2.2: targets of 24 px
