"""The beam by itself; `test_clients_beam` compares it with the deployed clients."""

import contextlib
import itertools
import json
import math
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from decoding.posteriors import sentence_posteriors
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.decoding import compiled
from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.language_model import ScorerError
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.runtime.model_file import BYTE_LABELS, read_labels

ENGLISH = Alphabet.english()
GOLDEN = Path(__file__).with_name("golden_beams.json")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("compiled_beam")


@pytest.fixture(scope="module")
def scorer(test_data):
    return Scorer.read(test_data / "ldc93s1" / "pruned_lm.scorer")


def clip_of(text: str, *, seed: int, confusion: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return sentence_posteriors(ENGLISH.encode(text), ENGLISH.num_classes, rng, confusion=confusion)


def random_probs(seed: int, frames: int, classes: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.6), frames).astype(np.float32)


def exhaustive(probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """Probability of each labelling: the sum over all paths (Graves et al. 2006)."""
    frames, classes = probs.shape
    total: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(classes), repeat=frames):
        labels = tuple(label for label, _ in itertools.groupby(path) if label != classes - 1)
        total[labels] = total.get(labels, 0.0) + math.prod(float(probs[t, c]) for t, c in enumerate(path))
    return total


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 4))
def test_a_beam_that_is_wide_enough_finds_every_labelling_with_its_probability(seed, frames, classes):
    probs = random_probs(seed, frames, classes)
    probs[0, -1] = min(probs[0, -1], 0.99)  # the search begins with the first frame
    expected = exhaustive(probs)
    found = BeamDecoder("abc"[: classes - 1], width=2000).decode(probs, num_results=2000)
    assert {tuple(c.labels) for c in found} == {labels for labels, prob in expected.items() if prob > 0}
    for candidate in found:
        assert candidate.confidence == pytest.approx(math.log(expected[tuple(candidate.labels)]), abs=2e-4)
    confidences = [candidate.confidence for candidate in found]
    assert confidences == sorted(confidences, reverse=True)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_stream_that_is_cut_anywhere_gives_the_same(scorer, data):
    probs = clip_of("the old wash water ran all year in the dark", seed=data.draw(st.integers(0, 50)))
    width = data.draw(st.sampled_from([1, 7, 60]))
    decoder = BeamDecoder(ENGLISH.characters, width=width, scorer=data.draw(st.sampled_from([None, scorer])))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(probs)), max_size=12)))
    stream = decoder.stream()
    for begin, end in itertools.pairwise([0, *cuts, len(probs)]):
        stream.feed(probs[begin:end])
        stream.results(2)  # an interim result changes nothing
    assert stream.results(5) == decoder.decode(probs, num_results=5)


def test_a_long_stream_keeps_little_and_gives_what_the_whole_gives(scorer):
    clip = clip_of("she had your dark suit in greasy wash water all year ", seed=1, confusion=0.05)
    decoder = BeamDecoder(ENGLISH.characters, width=50, scorer=scorer)
    stream, lengths = decoder.stream(), []
    for _ in range(60):
        stream.feed(clip)
        lengths.append(len(stream._search.nodes))
    assert lengths[-1] == lengths[5]  # the rows of the search did not grow with the audio
    assert stream.results(2) == decoder.decode(np.tile(clip, (60, 1)), num_results=2)
    assert len(stream.results()[0].labels) == len(stream.results()[0].frames) > 2000


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_is_committed_is_never_taken_back_and_cuts_change_nothing(scorer, data):
    with_scorer, commit_after = data.draw(st.booleans()), data.draw(st.integers(0, 60))
    seed, confusion = data.draw(st.integers(0, 99)), data.draw(st.floats(0.1, 0.6))
    probs = clip_of("she had your dark suit in greasy wash water", seed=seed, confusion=confusion)
    chosen = scorer if with_scorer else None
    decoder = BeamDecoder(ENGLISH.characters, width=30, scorer=chosen, commit_after=commit_after)
    stream, agreed = decoder.stream(), []
    for piece in np.split(probs, sorted(data.draw(st.lists(st.integers(0, len(probs)), max_size=9)))):
        stream.feed(piece)
        for candidate in stream.results(30):
            assert candidate.labels[: len(agreed)] == agreed
            assert len(candidate.labels) == len(candidate.frames)
        assert len(agreed) <= stream.agreed and stream.settled <= stream.agreed
        agreed = stream.results()[0].labels[: stream.agreed]
    assert stream.results(9) == decoder.decode(probs, num_results=9)
    late = BeamDecoder(ENGLISH.characters, width=30, scorer=chosen, commit_after=len(probs))
    assert late.decode(probs) == BeamDecoder(ENGLISH.characters, width=30, scorer=chosen).decode(probs)


@pytest.mark.parametrize("with_scorer", [True, False])
def test_a_word_is_committed_in_time(scorer, with_scorer):
    """And a search that commits for long keeps little."""
    probs = np.concatenate([clip_of("she had your dark suit ", seed=seed, confusion=0.5) for seed in range(100)])
    chosen = scorer if with_scorer else None
    stream = BeamDecoder(ENGLISH.characters, width=30, scorer=chosen, commit_after=50).stream()
    lags = []
    for start in range(0, len(probs), 16):
        stream.feed(probs[start : start + 16])
        best = stream.results()[0]
        lags.append(start - next((frame for frame in best.frames[stream.agreed :]), start))
    assert max(lags) < 50 + 16 + 60  # a word is shorter than 60 frames here
    assert len(stream._search.nodes) < 2000 and len(stream._search.times) < 2000
    free = int(stream._search.state[stream._kernels.FREE_NODES])
    assert len(stream._search.nodes) - free < 1000


def test_the_golden_beams(scorer):
    """What both clients (0.9.3 and 1.4.0) gave for these clips, to the last bit of the confidence."""
    for case in json.loads(GOLDEN.read_text()):
        options = {"scorer": scorer, **case["options"]} if case["scored"] else {}
        decoder = BeamDecoder(ENGLISH.characters, width=case["width"], **options)
        found = decoder.decode(clip_of(case["text"], seed=case["seed"]), num_results=3)
        assert [[ENGLISH.decode(c.labels), c.frames, c.confidence] for c in found] == case["candidates"]


def test_many_clips_on_threads_are_those_one_by_one(scorer):
    decoder = BeamDecoder(ENGLISH.characters, width=30, scorer=scorer)
    clips = [clip_of("all year in greasy water", seed=seed) for seed in range(8)]
    assert decoder.decode_batch(clips, threads=3) == [decoder.decode(clip) for clip in clips]


def test_cutoffs_leave_out_the_unlikely_classes():
    probs = np.array([[0.6, 0.1, 0.3], [0.2, 0.5, 0.3]], np.float32)
    everything = BeamDecoder("ab", width=100).decode(probs, num_results=100)
    likely = BeamDecoder("ab", width=100, cutoff_prob=0.5, cutoff_top_n=1).decode(probs, num_results=100)
    assert len(everything) == 5 and [c.labels for c in likely] == [[0, 1]]
    assert len(BeamDecoder("ab", width=100, cutoff_top_n=1).decode(probs, num_results=100)) == 5  # as in the clients


def test_nothing_is_heard_in_silence_and_in_no_frames(scorer):
    decoder = BeamDecoder(ENGLISH.characters, width=10, scorer=scorer)
    silence = np.zeros((20, ENGLISH.num_classes), np.float32)
    silence[:, -1] = 1
    for probs in (silence, silence[:0]):
        (candidate,) = decoder.decode(probs)
        assert candidate.labels == candidate.frames == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
def test_probabilities_that_are_none_do_no_harm(scorer, value):
    probs = clip_of("all year", seed=3)
    probs[5] = value
    for used in (None, scorer):
        assert BeamDecoder(ENGLISH.characters, width=20, scorer=used).decode(probs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 10**7},
        {"cutoff_prob": 0.0},
        {"cutoff_prob": 1.5},
        {"cutoff_top_n": 0},
        {"hot_words": {"a": 1.0}},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        BeamDecoder("ab", **{"width": 10, **wrong})


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"\[frames, 3\]"):
        BeamDecoder("ab", width=10).decode(np.ones((4, 5)))


def test_bytes_are_decoded_and_serialised_as_the_clients_have_them():
    alphabet = ByteAlphabet()
    assert read_labels(alphabet.serialize()) == BYTE_LABELS
    labels = alphabet.encode("né 東")
    probs = np.full((2 * len(labels), 256), 1e-5, np.float32)
    probs[np.arange(0, 2 * len(labels), 2), labels] = 1
    probs[1::2, 255] = 1
    assert alphabet.decode(BeamDecoder(None, width=20).decode(probs)[0].labels) == "né 東"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_scorer_never_ends_the_process(test_data, tmp_path_factory, data):
    content = bytearray((test_data / "ldc93s1" / "pruned_lm.scorer").read_bytes())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # Anywhere in tables, n-grams and pointers, which are read unchecked until they are used.
    for place in rng.integers(28_500, 266_112, data.draw(st.integers(1, 20_000))):
        content[place] = rng.integers(256)
    path = tmp_path_factory.getbasetemp() / "damaged.scorer"
    path.write_bytes(content)
    with contextlib.suppress(ScorerError):  # damage that is seen is refused; what is not must do no harm
        decoder = BeamDecoder(ENGLISH.characters, width=20, scorer=Scorer.read(path))
        decoder.decode(clip_of("she had your dark suit", seed=5), num_results=3)


def test_compiled_code_does_not_go_to_a_full_volume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    volume = tmp_path / "persistent-data"
    volume.mkdir()
    assert compiled.cache_folder() == Path("persistent-data/caches/numba")
    usage = shutil.disk_usage(tmp_path)

    def full_on_the_volume(folder):
        return usage._replace(free=3_000_000) if volume in Path(folder).resolve().parents else usage

    monkeypatch.setattr(shutil, "disk_usage", full_on_the_volume)
    assert compiled.cache_folder() == tmp_path / "home" / "deepspeech-training"


def test_a_user_without_a_name_and_a_home_has_a_folder_for_compiled_code(tmp_path, monkeypatch):
    def nobody(uid):
        raise KeyError(f"uid not found: {uid}")

    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert compiled.cache_folder().parent == tmp_path


def test_the_images_compile_the_search_from_files_that_are_enough_for_it(tmp_path):
    stage = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").split(" AS beam\n")[1].split("\nFROM ")[0]
    for words in re.findall(r"^COPY (deepspeech_training/.*)$", stage, re.MULTILINE):
        *sources, target = words.split()
        for source in map(ROOT.joinpath, sources):
            if source.is_dir():
                shutil.copytree(source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, tmp_path / target)
    script = "from deepspeech_training.decoding import beam, beam_kernels, compiled; print(beam.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


@pytest.mark.slow
def test_where_nothing_can_be_written_the_search_is_compiled_in_a_temporary_folder(tmp_path):
    script = (
        "import numpy as np\n"
        "from deepspeech_training.decoding import beam, compiled\n"
        "print(compiled.cache_folder())\n"
        "print(beam.BeamDecoder('a', width=2).decode(np.array([[0.9, 0.1]], np.float32))[0].labels)\n"
    )
    home = tmp_path / "file"
    home.write_text("no folder")
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("XDG_CACHE_HOME", None)
    for first in (True, False):  # the second process finds what the first compiled
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
        )
        folder, labels = done.stdout.splitlines()
        assert Path(folder).parent == tmp_path and labels == "[0]"
        assert ("Compiling the beam decoder, once" in done.stderr) == first
    # Elsewhere, with what an image has brought.
    environment |= {compiled.PREPARED: folder, "TMPDIR": str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert done.stdout.startswith(str(tmp_path / "elsewhere")) and done.stderr == ""
