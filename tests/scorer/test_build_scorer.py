"""The commands, from text to scorer, with their messages."""

import gzip
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models.small_models import random_model, random_weights, save_checkpoint
from scorer.arpa_text import read_arpa
from test_docs import called, commands

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.commands import COMMANDS, main
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.machine import resources
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.scorer import build, kenlm_programs
from deepspeech_training.scorer.dictionary import ARC, HEADER, STATE
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.package import TRAILER, package_bytes, spell
from deepspeech_training.scorer.vocabulary import read_vocabulary

BIN = Path(__file__).resolve().parents[2] / "bin"


@pytest.fixture
def english(tmp_path) -> Path:
    path = tmp_path / "alphabet.txt"
    path.write_text(Alphabet.english().to_text(), encoding="utf-8")
    return path


@pytest.fixture
def text(tmp_path):
    def write(data: bytes | str, name: str = "text.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


@pytest.fixture
def run(capsys):
    """Run a command; returns its exit code and what it wrote to stderr."""

    def call(command, *words, **options) -> tuple[int, str]:
        argv = [*map(str, words)]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        code = main.run(command, argv)
        captured = capsys.readouterr()
        assert captured.out == ""
        return code, captured.err

    return call


def words_in(path: Path) -> int:
    """The words of the dictionary, counted along its arcs."""
    data = path.read_bytes()
    start = trie_size(data, str(path)) + TRAILER.size
    *_, num_states, num_arcs = HEADER.unpack_from(data, start)
    states_at = start + HEADER.size + -(start + HEADER.size) % 16
    states = np.frombuffer(data, STATE, num_states, states_at)
    arcs_at = states_at + states.nbytes + -(states_at + states.nbytes) % 16
    arcs = np.frombuffer(data, ARC, num_arcs, arcs_at)
    assert arcs_at + arcs.nbytes == len(data)

    def paths(state: int) -> int:
        first = states[state]["first_arc"]
        own = int(states[state]["final"] == 0)
        return own + sum(paths(int(arc["next"])) for arc in arcs[first : first + states[state]["arcs"]])

    return paths(0)


def test_one_command_makes_a_scorer_of_texts_and_transcripts(run, text, corpus, english, tmp_path):
    first = text("\ufeffShe had YOUR dark suit\nin greasy wash\n")
    with gzip.open(tmp_path / "more.txt.gz", "wb") as file:
        file.write(b"water all year\n")
    csv = corpus(["all year long"])
    package = tmp_path / "new" / "my.scorer"
    code, said = run(
        "scorer build",
        input_txt=f"{first},{tmp_path / 'more.txt.gz'}",
        input_csv=csv,
        alphabet=english,
        package=package,
        default_alpha=0.5,
        default_beta=2,
        arpa=tmp_path / "lm.arpa",
        output_dir=tmp_path / "out",
    )
    assert code == 0 and words_in(package) == 12
    data = package.read_bytes()
    size = trie_size(data, "it")
    assert TRAILER.unpack_from(data, size)[1:] == (6, False, 0.5, 2.0)
    assert (tmp_path / "out" / "lm.binary").read_bytes() == data[:size]
    assert "\tyour dark" in (tmp_path / "lm.arpa").read_text(encoding="utf-8")
    assert read_vocabulary(tmp_path / "out" / "vocab-500000.txt")[:2] == ["all", "year"]
    assert "too few counts" in said and "GB of memory" in said
    assert not list(tmp_path.rglob("*.part"))


def test_the_two_programs_of_deepspeech_make_the_same_scorer(run, golden, english, tmp_path):
    options = {
        "arpa_order": 3,
        "max_arpa_memory": "85%",
        "arpa_prune": "0|0|1",
        "binary_a_bits": 255,
        "binary_q_bits": 8,
        "binary_type": "trie",
    }
    code, _ = run(
        "scorer lm", "--discount_fallback", input_txt=golden / "text.txt", output_dir=tmp_path, top_k=20, **options
    )
    assert code == 0 and len(read_vocabulary(tmp_path / "vocab-20.txt")) == 20
    code, said = run(
        "scorer package",
        alphabet=english,
        lm=tmp_path / "lm.binary",
        vocab=tmp_path / "vocab-20.txt",
        package=tmp_path / "a.scorer",
        default_alpha=0.9,
        default_beta=1.1,
    )
    assert code == 0 and "20 unique words" in said
    code, _ = run(
        "scorer build",
        input_txt=golden / "text.txt",
        alphabet=english,
        package=tmp_path / "b.scorer",
        top_k=20,
        default_alpha=0.9,
        default_beta=1.1,
        **options,
    )
    assert code == 0 and (tmp_path / "a.scorer").read_bytes() == (tmp_path / "b.scorer").read_bytes()


@pytest.mark.parametrize("flag", [("--force_bytes_output_mode", "true"), ("--force_bytes_output_mode",), ()])
def test_deepspeechs_package_in_bytes_is_made_by_its_command(run, test_data, tmp_path, flag):
    folder = test_data / "ldc93s1"
    theirs = (folder / "pruned_lm.bytes.scorer").read_bytes()
    (tmp_path / "lm.binary").write_bytes(theirs[: trie_size(theirs, "it")])
    code, said = run(
        "scorer package",
        *flag,
        lm=tmp_path / "lm.binary",
        vocab=folder / "vocab.pruned.bytes.txt",
        package=tmp_path / "my.scorer",
        default_alpha=0.931289039105002,
        default_beta=1.1834137581510284,
    )
    assert code == 0 and (tmp_path / "my.scorer").read_bytes() == theirs
    assert ("bytes mode" in said) == (not flag)


def test_characters_are_the_words_in_bytes_mode(run, text, tmp_path):
    package = tmp_path / "my.scorer"
    code, _ = run("scorer build", "--bytes_output_mode", input_txt=text("一二 三\n二三\n"), package=package)
    assert code == 0 and words_in(package) == 3
    data = package.read_bytes()
    assert TRAILER.unpack_from(data, trie_size(data, "it"))[2] is True


def test_words_outside_the_alphabet_are_counted_and_listed(run, text, english, tmp_path):
    source = text("the café, the cat\nthe 7 cats\n")
    code, said = run("scorer build", input_txt=source, alphabet=english, package=tmp_path / "my.scorer")
    assert code == 0 and words_in(tmp_path / "my.scorer") == 3
    assert "2 words (28.57 % of the text) have characters that the alphabet lacks" in said and "café 7" in said


def test_capitals_stay_where_they_are_told_to(run, text, tmp_path):
    (tmp_path / "alphabet.txt").write_text("A\na\n \n", encoding="utf-8")
    options = {"input_txt": text("A a\n"), "alphabet": tmp_path / "alphabet.txt", "package": tmp_path / "my.scorer"}
    assert run("scorer build", "--keep_case", **options)[0] == 0 and words_in(tmp_path / "my.scorer") == 2
    assert run("scorer build", **options)[0] == 0 and words_in(tmp_path / "my.scorer") == 1


def test_the_alphabet_of_the_model_has_to_be_that_of_the_scorer(run, golden, english, text, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(random_model(alphabet=Alphabet("cba ")))
    checkpoints = tmp_path / "checkpoints"
    network = DeepSpeech(num_classes=5, n_hidden=2)
    weights = random_weights(network)
    save_checkpoint(checkpoints, weights, alphabet=Alphabet("cba "), features=FeatureGeometry(), network=network)
    package = tmp_path / "my.scorer"
    for path in (model, checkpoints):
        code, said = run("scorer build", input_txt=golden / "text.txt", alphabet=english, package=package, model=path)
        assert code == 1 and "label 0 is ' ' here and 'c' there (28 and 4 characters)" in said
        code, said = run("scorer build", input_txt=text("abba cab\n"), package=package, model=path)
        assert code == 0 and words_in(package) == 2


def test_a_model_of_bytes_has_a_scorer_of_bytes_and_no_other(run, english, text, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(random_model(alphabet=ByteAlphabet()))
    options = {"input_txt": text("一二\n"), "package": tmp_path / "my.scorer", "model": model}
    code, said = run("scorer build", **options, alphabet=english)
    assert code == 1 and "this model writes bytes" in said
    assert run("scorer build", "--bytes_output_mode", **options)[0] == 0
    model.write_bytes(random_model())
    code, said = run("scorer build", "--bytes_output_mode", **options)
    assert code == 1 and "28 characters of an alphabet" in said


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"one\ntw\xff\n", "text.txt, line 2: byte 0xff is not UTF-8"),
        (b"", "the text has no words"),
        (b"\n \n", "the text has no words"),
        (b"a\nb <s> c\n", "text.txt, line 2: the word <s>"),
        ("привет\n".encode(), "no word is left for the dictionary"),
    ],
)
def test_a_text_that_cannot_be_used_is_an_error_and_leaves_the_old_scorer(run, text, english, tmp_path, data, fault):
    package = text("the old one", "my.scorer")
    code, said = run("scorer build", input_txt=text(data), alphabet=english, package=package)
    assert code == 1 and fault in said and package.read_text() == "the old one"


def test_a_file_that_is_not_there_or_cut_is_named(run, text, english, tmp_path):
    package = tmp_path / "my.scorer"
    code, said = run("scorer build", input_txt=tmp_path / "none.txt", alphabet=english, package=package)
    assert code == 1 and "none.txt: cannot read the text: No such file" in said
    cut = text(gzip.compress(b"some words\n" * 100)[:-10], "cut.txt.gz")
    code, said = run("scorer build", input_txt=cut, alphabet=english, package=package)
    assert code == 1 and "cut.txt.gz: the file is cut short" in said
    assert not package.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"arpa_order": 7},
        {"arpa_order": 0},
        {"arpa_prune": "0|1|0"},
        {"arpa_prune": "x"},
        {"binary_q_bits": 26},
        {"binary_a_bits": 256},
        {"binary_type": "probing"},
        {"top_k": 0},
        {"default_alpha": "nan"},
        {"kenlm_bins": "/nonexistent"},
        {"arpa_order": 2, "arpa_prune": "0|0|1"},
    ],
    ids=str,
)
def test_wrong_options_are_found_before_the_work(run, english, tmp_path, options):
    code, said = run(
        "scorer build", input_txt=tmp_path / "none.txt", alphabet=english, package=tmp_path / "s", **options
    )
    assert code == 2 and f"--{next(iter(options))}" in said


def test_text_and_alphabet_are_asked_for(run, golden, tmp_path):
    code, said = run("scorer build", package=tmp_path / "s")
    assert code == 2 and "--input_txt" in said
    code, said = run("scorer build", input_txt=golden / "text.txt", package=tmp_path / "s")
    assert code == 2 and "--alphabet" in said


def test_a_language_model_of_another_kind_is_refused(run, test_data, english, tmp_path):
    folder = test_data / "ldc93s1"
    for lm, fault in ((folder / "pruned_lm.scorer", "is it a scorer already"), (english, "not a KenLM binary file")):
        code, said = run(
            "scorer package",
            alphabet=english,
            lm=lm,
            vocab=folder / "vocab.pruned.txt",
            package=tmp_path / "s",
            default_alpha=1,
            default_beta=1,
        )
        assert code == 1 and fault in said.lower() + said


def test_a_text_that_needs_more_memory_than_there_is_leads_to_kenlm(run, golden, english, tmp_path, monkeypatch):
    monkeypatch.setattr("deepspeech_training.scorer.build.available_memory", lambda: 1000)
    code, said = run("scorer build", input_txt=golden / "text.txt", alphabet=english, package=tmp_path / "s")
    assert code == 1 and "too many for the memory" in said and "--kenlm_bins" in said


def test_pages_of_files_that_were_read_are_no_memory_that_is_taken(run, golden, english, tmp_path, monkeypatch):
    """After a large text a container's memory is full of its pages, which the kernel gives up when memory is wanted."""
    limited = tmp_path / "cgroup"
    limited.mkdir()
    for name, text in (("max", f"{2**30}"), ("current", f"{2**30}"), ("stat", f"inactive_file {2**29}\n")):
        (limited / f"memory.{name}").write_text(text)
    monkeypatch.setattr(resources, "_cgroup_folders", lambda controller: [limited])
    code, said = run("scorer build", input_txt=golden / "text.txt", alphabet=english, package=tmp_path / "s")
    assert code == 0 and "of 0.5 GB that are free" in said


def test_lmplz_takes_a_share_of_what_the_container_may_take(monkeypatch):
    monkeypatch.setattr(kenlm_programs, "memory_limit", lambda: 2**30)
    assert [kenlm_programs._in_container(size) for size in ("50%", "4G")] == ["512M", "4G"]
    monkeypatch.setattr(kenlm_programs, "memory_limit", lambda: None)
    assert kenlm_programs._in_container("85%") == "85%"


def test_the_page_shows_every_command():
    seen = {called(words)[0] for words in commands(BIN.parent / "docs" / "scorer.md") if called(words)}
    assert seen >= {name for name in COMMANDS if name.startswith("scorer ")}


@pytest.mark.parametrize("name", ["build_scorer", "generate_lm.py", "generate_scorer_package"])
def test_the_programs_say_what_they_take(name):
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, BIN / name, "--help"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and f"usage: {name}" in done.stdout


@pytest.mark.slow
def test_an_installed_kenlm_makes_the_same_scorer_up_to_rounding(run, kenlm_bins, golden, english, tmp_path):
    made = []
    for more in ({}, {"kenlm_bins": kenlm_bins}):
        package = tmp_path / f"{len(made)}.scorer"
        options = {"input_txt": golden / "text.txt", "alphabet": english, "package": package, "top_k": 30, **more}
        assert run("scorer build", **options, binary_q_bits=0, binary_a_bits=0)[0] == 0
        made.append(package.read_bytes())
    ours, theirs = made
    assert len(ours) == len(theirs) and ours[:88] == theirs[:88]
    size = trie_size(ours, "it")
    assert size == trie_size(theirs, "it") and ours[size:] == theirs[size:]


def test_a_package_can_be_made_from_python(golden):
    from deepspeech_training.scorer.kenlm_trie import TrieBits, trie_chunks

    model = read_arpa(golden / "order3.arpa")
    trie = b"".join(trie_chunks(model, TrieBits()))
    spelled = spell(model.vocabulary, Alphabet.english())
    data = package_bytes(trie, spelled.labels, bytes_output_mode=False, alpha=1, beta=1)
    assert data[: len(trie)] == trie and set(spelled.left_out) == {"café", "naïve"}


def test_a_model_whose_labels_are_not_characters_has_no_scorer(run, text, tmp_path, monkeypatch):
    model = tmp_path / "model.tflite"
    model.write_bytes(random_model(alphabet=Alphabet("cba ")))
    read = build.ModelFile.read
    digraph = lambda path: replace(read(path), labels=("ch", "b", "a", " "))  # noqa: E731
    monkeypatch.setattr(build.ModelFile, "read", digraph)
    code, said = run("scorer build", input_txt=text("abba\n"), package=tmp_path / "my.scorer", model=model)
    assert code == 1 and "a character with each label; 'ch' cannot be a character" in said
