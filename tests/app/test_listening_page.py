"""Recordings to correct, in a real Chromium: from a file to a corpus, with the keyboard."""

import csv

import numpy as np
import pytest
import soundfile
from app.app_process import App
from serving import chromium

CORRECT = "She had your dark suit in greasy wash water all year."


@pytest.mark.slow
def test_a_recording_is_cut_corrected_accepted_rejected_undone_and_saved(test_data, tmp_path):
    audio, rate = soundfile.read(test_data / "ldc93s1" / "LDC93S1.wav", dtype="float32")
    pause = np.zeros(round(2.5 * rate), np.float32)
    meeting = tmp_path / "meeting.flac"
    soundfile.write(meeting, np.concatenate([pause, audio, pause, audio * 0.3, pause, audio, pause]), rate)
    model = test_data / "golden" / "output_graph_nodrop.tflite"
    (tmp_path / "volume").mkdir()
    app = App("--data", tmp_path / "volume", "--studio", "--model", model)
    app.until_ready()
    with chromium.driven() as playwright:
        browser = chromium.launch(playwright)
        with chromium.visit(browser, f"{app.url}/studio") as visitor:
            page = visitor.page
            page.click("#new-bench summary")
            page.fill("#bench-title", "Meetings")
            page.fill("#bench-language", "en")
            page.keyboard.press("Enter")
            page.wait_for_selector("#desk:not([hidden])")
            assert page.locator("#desk-save").is_disabled()
            page.set_input_files("#desk-files", str(meeting))
            page.wait_for_selector("#desk-list li >> nth=2")
            facts = page.locator("#desk-list p").first.inner_text()
            assert "meeting.flac, 0:" in facts and "sure of" in facts
            page.click("#desk-list button >> nth=0")
            visitor.until("window.played.length === 1")

            page.fill("#desk-list input >> nth=0", CORRECT)
            page.keyboard.press("Enter")
            visitor.until("document.querySelectorAll('#desk-list li').length === 2")
            assert page.evaluate("document.activeElement.matches('#desk-list li:first-child input')")
            page.click("#desk-list button:has-text('Reject') >> nth=0")
            visitor.until("document.querySelectorAll('#desk-list li').length === 1")
            assert page.locator("#desk-said").inner_text() == "1 to check, 1 accepted, 1 rejected"
            page.click("#desk-undo")
            visitor.until("document.querySelectorAll('#desk-list li').length === 2")
            page.click("#desk-save")
            page.wait_for_selector("#desk-saved >> text=version 1: train: 1 clip")
            page.reload()
            page.wait_for_selector("#desk-list li >> nth=1")
            page.select_option("#desk-state", "accepted")
            page.wait_for_selector("#desk-list button:has-text('Check again')")
            assert page.locator("#desk-list input").input_value() == CORRECT
            page.click("text=All projects >> visible=true")
            page.wait_for_selector("#bench-list >> text=2 pieces to check, 1 accepted")
        browser.close()
    with open(tmp_path / "volume/corpora/meetings/train.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["transcript"] == CORRECT.lower().strip(".") and row["original"] == CORRECT
    assert app.end() == 0
