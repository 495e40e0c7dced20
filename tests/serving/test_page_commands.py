"""The page at `/` with a model of spoken commands, beside one that writes."""

import httpx
import numpy as np
import pytest
import soundfile
from models.small_models import random_commands, random_model
from serving import chromium
from serving.conftest import wav_bytes

RULE = {"threshold": 0.01, "hold_off_s": 0.2}  # so low that random weights hear something


@pytest.fixture(scope="module")
def server(_servers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    (folder / "kitchen.tflite").write_bytes(random_commands(rule=RULE)[0])
    (folder / "text.tflite").write_bytes(random_model())
    return _servers("--model", folder)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A WAV of 3 s."""
    time = np.arange(3 * 16000) / 16000
    audio = 0.25 * np.sin(2 * np.pi * (200 + 900 * time) * time) * (np.sin(7 * time) > 0)
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    soundfile.write(path, audio + 0.006 * np.random.default_rng(0).standard_normal(len(time)), 16000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def visitor(playwright, server, sound):
    browser = chromium.launch(playwright, microphone=sound, loops=True)
    with chromium.visit(browser, server.url) as visitor:
        yield visitor.ready()
    browser.close()


def test_it_says_which_commands_it_hears_and_offers_what_a_text_needs_only_where_one_is_written(visitor):
    page = visitor.page
    assert page.title() == "Spoken commands" and page.inner_text("#transcript-title") == "Commands"
    assert "This model hears: yes, no." in page.inner_text("#empty")
    assert "yes, no" in page.inner_text("#facts") and "not measured" in page.inner_text("#facts")
    assert page.is_visible("[name=threshold]") and not page.is_visible("[name=beam_width]")
    assert not page.is_visible("#compare")
    page.select_option("#model", "text")
    assert page.title() == "Speech to text" and page.is_visible("[name=beam_width]") and page.is_visible("#compare")
    assert not page.is_visible("[name=threshold]") and "The words appear here" in page.inner_text("#empty")
    page.select_option("#model", "kitchen")


def test_commands_of_the_microphone_appear_while_it_is_open(visitor):
    visitor.record()
    visitor.page.wait_for_selector(".paragraph .word")
    visitor.stop()
    assert set(visitor.paragraphs()) <= {"yes", "no"}
    assert '"model":"kitchen"' in visitor.sent[0].replace(" ", "")


def test_commands_of_a_file_are_those_that_the_server_hears_and_the_threshold_is_heeded(visitor, server, sound):
    page = visitor.page
    page.set_input_files("#file", sound)
    visitor.until("document.querySelector('#sound-name').textContent.includes('sound.wav')")
    page.wait_for_selector(".paragraph .word")
    audio, rate = soundfile.read(sound, dtype="float32")
    found = httpx.post(f"{server.url}/v1/audio/detections", content=wav_bytes(audio, rate), timeout=60).json()
    visitor.until(f"document.querySelectorAll('.paragraph').length === {len(found)}")
    assert visitor.paragraphs() == [one["label"] for one in found]
    page.fill("[name=threshold]", "1")
    page.set_input_files("#file", sound)
    visitor.until("document.querySelector('#empty').textContent.startsWith('No command was heard')")
    assert visitor.paragraphs() == []
