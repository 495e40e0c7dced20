import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.augment.pictures import _sheet, contact_sheet, fonts_for
from deepspeech_training.augment.preview import Clip, Preview, heard, held_back, seen
from deepspeech_training.commands.main import run
from deepspeech_training.features.geometry import FeatureGeometry

GEOMETRY = FeatureGeometry()


@pytest.fixture
def speech() -> Clip:
    return Clip(synthesize("wash water", seed=1).astype(np.float32), needed_frames=1)


def augmented(clip: Clip, *texts: str):
    augmenter = Augmenter(parse_augmentations(texts), GEOMETRY, seed=1)
    return clip.augmented("a", augmenter, epoch=0, clock=0.5), augmenter.in_the_step


def test_clips_pictures_and_costs_are_written(corpus, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    csv_path = corpus(["one <b>", "two", "three", "four"])
    flags = ["--augment", "gain[db=-6]", "--augment", "tempo[factor=1.25]", "--number", "3"]
    assert run("augment", [csv_path, *flags, "--output", str(tmp_path / "sheet")]) == 0
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
    assert "<strong></strong></p>" in page  # nothing was held back
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
        (
            ["--augment", "gain", "--audio_sample_rate", "11025"],
            2,
            "--audio_sample_rate 11025: windows of 32 ms, 20 ms",
        ),
        (["--augment", "gain", "--audio_sample_rate", "0"], 2, "--audio_sample_rate 0: it must be 1 or more"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, capsys, flags, code, message):
    (tmp_path / "a.csv").write_text("wav_filename,wav_filesize,transcript\nnone.wav,1,a\n")
    assert run("augment", [str(tmp_path / "a.csv"), *flags, "--output", str(tmp_path / "out")]) == code
    error = capsys.readouterr().err
    assert message in error and "--feature_win" not in error


def test_without_a_folder_it_writes_into_the_working_folder_again_and_again(corpus, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    csv_path = corpus(["a", "b"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "augmented").mkdir()  # as an earlier version left it
    (tmp_path / "augmented/index.html").write_text("<style></style><h1>Augmented clips</h1>")
    for number in ("2", "1"):
        assert run("augment", [csv_path, "--augment", "gain", "--number", number]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "augmented/index.html"
    assert (tmp_path / "augmented/index.html").read_text().count("-after.wav") == 1


@pytest.mark.parametrize("name", ["index.html", "sheet.png", "01-before.wav"])
def test_files_of_others_are_not_replaced(corpus, tmp_path, capsys, monkeypatch, name):
    csv_path = corpus(["a"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "augmented").mkdir()
    (tmp_path / "augmented" / name).write_text("mine")
    assert run("augment", [csv_path, "--augment", "gain"]) == 1
    assert f"--output augmented: {name} is in it, which this program did not write" in capsys.readouterr().err
    assert [path.read_text() for path in (tmp_path / "augmented").iterdir()] == ["mine"]


def test_clips_that_would_be_too_short_for_their_transcripts_are_marked_and_counted(corpus, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    csv_path = corpus(["one", "abc " * 6 + "abc", "a" * 80])  # 49 frames each; 27 and 159 are needed
    flags = ["--augment", "speed[factor=2]", "--augment", "tempo[factor=4]", "--output", str(tmp_path / "out")]
    assert run("augment", [csv_path, *flags]) == 0
    error, page = capsys.readouterr().err, (tmp_path / "out/index.html").read_text()
    for words in (
        "Not augmented in full, and not in training either: 2 of 3 clips, ",
        "train.csv:3: without speed: it would have 24 of the 27 frames that its transcript needs; "
        "without tempo: it would have 12 of the 27 frames that its transcript needs",
        "train.csv:4: left out of training: it has 49 of the 159 frames that its transcript needs",
    ):
        assert words in error and words.partition(": ")[2] in page, words
    assert "train.csv:2: " not in error
    lengths = [len(soundfile.read(tmp_path / f"out/0{number}-after.wav")[0]) for number in (1, 2, 3)]
    assert lengths[0] < 4000 and min(lengths[1:]) > 15000


def test_what_is_held_back_is_what_makes_a_clip_too_short(speech):
    clip = Clip(speech.audio, needed_frames=GEOMETRY.num_frames(len(speech.audio)) - 1)

    def found(*texts: str) -> str:
        augmenter = Augmenter(parse_augmentations(texts), GEOMETRY, seed=1)
        return held_back("a", clip, augmenter, GEOMETRY, epoch=0, clock=0.5)

    assert found("gain[db=-6]", "vtlp", "speed[factor=0.9]", "tempo[factor=0.9]", "silence") == ""
    assert found("speed[p=0,factor=4]", "tempo[p=0,factor=4]") == ""
    assert found("gain[db=-6]", "speed[factor=2]").startswith("without speed: it would have ")
    assert found("tempo[factor=2]", "gain[db=-6]").startswith("without tempo: it would have ")
    # Silence would make up for it, but comes after.
    later = found("speed[factor=1.1]", "silence[before=1000,after=1000]")
    assert later == "without all of speed: it would be too short for its transcript"


def test_the_sheet_says_what_was_held_back():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    sound, seen_bands = np.zeros(1), np.zeros((10, 40))
    previews = [
        Preview(name, "text", sound, sound, seen_bands, seen_bands, why) for name, why in (("a", ""), ("b", "w"))
    ]
    figure = _sheet(pyplot, previews, GEOMETRY, "title")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    pyplot.close(figure)
    assert titles == ["a before: text", "a after: text", "b before: text", "b after:\nw"]


def test_characters_that_no_font_has_are_told_in_one_plain_line(corpus, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    text = chr(0x10FFFD)  # for private use: no font has it
    assert run("augment", [corpus([text]), "--augment", "gain", "--output", str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    told = (
        f"W sheet.png has boxes for {text}, which no installed font has; index.html shows what the browser's fonts have"
    )
    assert error.splitlines() == [told]
    assert text in (tmp_path / "out/index.html").read_text(encoding="utf-8")


def test_an_installed_font_that_has_the_characters_is_taken(tmp_path):
    pytest.importorskip("matplotlib")
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib import font_manager

    pen = TTGlyphPen(None)
    for place in ((0, 0), (0, 700), (700, 700)):
        (pen.lineTo if place != (0, 0) else pen.moveTo)(place)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "one"])
    builder.setupCharacterMap({0xF0000: "one"})
    builder.setupGlyf({".notdef": pen.glyph(), "one": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "one": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "one.ttf")
    before = list(font_manager.fontManager.ttflist)
    try:
        assert fonts_for("abc") == ([], [])
        font_manager.fontManager.addfont(tmp_path / "one.ttf")
        families, missing = fonts_for("a\U000f0000")
        assert families == ["One Letter"] and missing == []
        silent = np.zeros((10, 40))
        one = Preview("a", "\U000f0000", np.zeros(1), np.zeros(1), silent, silent)
        sheets = [contact_sheet([one], GEOMETRY, title="", families=chosen) for chosen in ((), families)]
        assert sheets[0] != sheets[1]
    finally:
        font_manager.fontManager.ttflist[:] = before


def test_what_is_heard_has_the_spectrogram_that_the_step_makes(speech):
    clip, in_the_step = augmented(speech, "pitch[pitch=1]")
    again = heard(clip, GEOMETRY, in_the_step)
    assert len(again) == pytest.approx(len(speech.audio), abs=GEOMETRY.step_samples + 1)
    loud = seen(speech, GEOMETRY)
    difference = np.abs(seen(Clip(again, needed_frames=1), GEOMETRY) - loud)[loud > loud.max() - 40]
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
