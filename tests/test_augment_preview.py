import numpy as np
import pytest
import soundfile

from deepspeech_training.augment_preview import heard, main, seen
from deepspeech_training.augmentations import parse_augmentations
from deepspeech_training.data.augmenter import Augmenter
from deepspeech_training.data.loader import Clip
from deepspeech_training.features_geometry import FeatureGeometry
from deepspeech_training.synthetic_speech import synthesize

GEOMETRY = FeatureGeometry()


@pytest.fixture
def speech() -> Clip:
    return Clip(synthesize("wash water", seed=1).astype(np.float32), np.zeros(1, np.int32))


def augmented(clip: Clip, *texts: str):
    augmenter = Augmenter(parse_augmentations(texts), GEOMETRY, seed=1)
    return augmenter("a", clip, epoch=0, clock=0.5), augmenter.in_the_step


def test_clips_pictures_and_costs_are_written(corpus, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    csv_path = corpus(["one <b>", "two", "three", "four"])
    flags = ["--augment", "gain[db=-6]", "--augment", "tempo[factor=1.25]", "--number", "3"]
    assert main([csv_path, *flags, "--output", str(tmp_path / "sheet")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in printed[:2]] == ["gain[p=1,db=-6]", "tempo[p=1,factor=1.25,max_time=-1]"]
    assert printed[2] == str(tmp_path / "sheet" / "index.html")
    names = {path.name for path in (tmp_path / "sheet").iterdir()}
    clips = {f"0{number}-{what}.wav" for number in (1, 2, 3) for what in ("before", "after")}
    assert names == clips | {"sheet.png", "index.html"}
    assert (tmp_path / "sheet" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    before, rate = soundfile.read(tmp_path / "sheet" / "01-before.wav")
    after, _ = soundfile.read(tmp_path / "sheet" / "01-after.wav")
    assert rate == 16000 and len(before) == 16000
    assert len(after) == pytest.approx(16000 / 1.25, abs=700)
    assert after[2000:-2000].std() == pytest.approx(before.std() / 2, rel=0.2)
    page = (tmp_path / "sheet" / "index.html").read_text()
    assert all(name in page for name in clips | {"sheet.png"})
    assert "one &lt;b&gt;" in page and "train.csv:5" in page


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "--augment is missing"),
        (["--augment", "gian"], 2, "did you mean gain?"),
        (["--augment", "gain", "--clock", "2"], 2, "--clock 2: must be at least 0 and at most 1"),
        (["--augment", "gain", "--number", "0"], 2, "--number 0: must be at least 1"),
        (["--augment", "gain"], 1, "there is no clip that can be used"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, capsys, flags, code, message):
    (tmp_path / "a.csv").write_text("wav_filename,wav_filesize,transcript\nnone.wav,1,a\n")
    assert main([str(tmp_path / "a.csv"), *flags, "--output", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err


def test_what_is_heard_has_the_spectrogram_that_the_step_makes(speech):
    clip, in_the_step = augmented(speech, "pitch[pitch=1]")
    again = heard(clip, GEOMETRY, in_the_step)
    assert len(again) == pytest.approx(len(speech.audio), abs=GEOMETRY.step_samples + 1)
    loud = seen(speech, GEOMETRY)
    difference = np.abs(seen(Clip(again, speech.labels), GEOMETRY) - loud)[loud > loud.max() - 40]
    assert np.median(difference) < 2  # dB
    clip, in_the_step = augmented(speech, "gain[db=-6]", "vtlp")
    assert heard(clip, GEOMETRY, in_the_step) is clip.audio


def test_what_is_seen_is_the_mel_bands_in_decibels(speech):
    softer, _ = augmented(speech, "gain[db=-12]")
    finer = FeatureGeometry(n_mfcc=40)  # all of the DCT
    loud = seen(speech, finer)
    assert loud.shape == (GEOMETRY.num_frames(len(speech.audio)), 40)
    change = (seen(softer, finer) - loud)[loud > loud.max() - 30]
    assert change.mean() == pytest.approx(-12, abs=0.1)
