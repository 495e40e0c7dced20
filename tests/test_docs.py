"""The pages say what is so: their Python runs, their commands have flags that exist, their links lead somewhere."""

import importlib
import inspect
import itertools
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from training.processes import make_corpus, transcripts

import deepspeech_training
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.commands import COMMANDS
from deepspeech_training.commands.completion import all_parsers, whole_parser
from deepspeech_training.commands.main import find, module_of
from deepspeech_training.config import FLAGS
from deepspeech_training.config.obsolete import OBSOLETE, TO_COME
from deepspeech_training.config.presets import PRESETS
from deepspeech_training.console import Console
from deepspeech_training.features.geometry import FeatureGeometry

ROOT = Path(__file__).resolve().parents[1]
TOP = [ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT")]
PAGES = sorted([*TOP, *(ROOT / "docs").glob("*.md")])
# What a page calls beside `deepspeech COMMAND` -> the command.
PROGRAMS = {
    "DeepSpeech.py": "train",
    "deepspeech-train": "train",
    "deepspeech-export": "export",
    **{path.name: f"import {path.stem.removeprefix('import_')}" for path in (ROOT / "bin").glob("import_*.py")},
    **runpy.run_path(str(ROOT / "bin" / "_program.py"))["COMMANDS"],
}
NOT_IN_THE_TABLES = {
    "logdir",
    "x",
    "nox",
    "flag",
    "noflag",
    "help",
    "flagfile",
    "config",
    "model",
    "audio",
}  # of others, of the syntax
OF_DOCKER = {
    "build",
    "cpu",
    "cpus",
    "detach",
    "entrypoint",
    "follow",
    "gpus",
    "memory",
    "mount",
    "name",
    "profile",
    "publish",
    "read",
    "restart",
    "rm",
    "runtime",
    "shm",
    "stop",
    "target",
    "time",
    "tmpfs",
    "volume",
}  # - first words of the flags of docker, compose, nvidia-ctk and bin/docker.sh

OF_PIP = {"constraint", "outdir", "quiet", "wheel"}  # and of git and build
OF_SLURM = {"requeue", "signal"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language, indented ones (in a list) too."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands(page: Path) -> list[list[str]]:
    """The words of every command in the shell blocks of a page; continued lines are one command."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def anchors(page: Path) -> set[str]:
    """What a #link can lead to, made of the headings as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def trained_folder(tmp_path, monkeypatch):
    """A folder in which persistent-data/checkpoints/first has a best checkpoint of a tiny network."""
    folder = CheckpointFolder(tmp_path / "persistent-data" / "checkpoints" / "first", Console())
    folder.folder.mkdir(parents=True)
    arrays = {"lstm/kernel": np.arange(128, dtype=np.float32).reshape(8, 16), "lstm/bias": np.ones(16, np.float32)}
    state = {"run": {"epoch": 7, "step": 1200}, "alphabet": [" ", "a"], "features": asdict(FeatureGeometry())}
    folder.save_best(1200, state, lambda: arrays)
    folder.save(1200, state, lambda: arrays, max_to_keep=5)
    monkeypatch.chdir(tmp_path)
    return arrays


def test_the_lines_that_read_a_checkpoint_with_numpy_alone_do_so(trained_folder, capsys):
    (snippet,) = blocks(ROOT / "docs" / "checkpoints.md", "python")
    names = {}
    exec(snippet, names)
    for name, array in trained_folder.items():
        np.testing.assert_array_equal(names["arrays"][name], array)
    assert capsys.readouterr().out == "7 [' ', 'a'] (8, 16)\n"
    assert set(re.findall(r"^(?:import|from) (\w+)", snippet, re.MULTILINE)) == {"json", "pathlib", "numpy"}


def test_the_lines_that_transcribe_do_so(test_data, tmp_path, monkeypatch, capsys):
    (tmp_path / "model.tflite").symlink_to(test_data / "golden" / "output_graph_nodrop.tflite")
    (tmp_path / "clip.wav").symlink_to(test_data / "ldc93s1" / "LDC93S1.wav")
    monkeypatch.chdir(tmp_path)
    snippet, of_sessions = blocks(ROOT / "docs" / "inference.md", "python")
    exec(snippet, {})
    lines = capsys.readouterr().out.splitlines()
    exec(of_sessions, {})
    assert any(line.startswith("wash 2.0") for line in capsys.readouterr().out.splitlines())
    assert lines[0] == lines[-1] == "she had your dark suit in greasy wash water all year"
    assert lines[1] == "'s' 0 0.0"


@pytest.mark.slow
def test_the_lines_that_train_do_so(tmp_path):
    for name in ("train.csv", "dev.csv", "test.csv"):
        make_corpus(tmp_path, transcripts(2), name=name)
    (snippet,) = blocks(ROOT / "docs" / "python.md", "python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DEEPSPEECH_MODE": "cpu"}
    command = [sys.executable, "-c", snippet]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 and "best-0" in done.stdout


@pytest.mark.slow
def test_the_lines_that_pronounce_do_so(tmp_path):
    words = ["".join(letters) for letters in itertools.product("helo", repeat=3)]
    lexicon = "".join(f"{word}\t{' '.join(word)}\n" for word in words)
    (tmp_path / "words.tsv").write_text(lexicon, encoding="utf-8")
    (snippet,) = blocks(ROOT / "docs" / "pronunciation.md", "python")
    files = '"words.tsv", "persistent-data/g2p"'
    small = f'{files}, mode="cpu", epochs=2, d_model=16, layers=1, heads=2, train_batch_size=16'
    command = [sys.executable, "-c", snippet.replace(files, small)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout.split()[-1]) <= 1


def test_no_other_page_has_python_that_nobody_runs():
    run_here = ["checkpoints.md", "inference.md", "pronunciation.md", "python.md"]
    run_by_other_tests = ["commands.md", "protocols.md"]  # of the runtime and of serving
    with_python = [page.name for page in PAGES if blocks(page, "python")]
    assert with_python == sorted(run_here + run_by_other_tests)


def called(words: list[str]) -> tuple[str, list[str]] | None:
    """The command of ours that a line calls and what follows its name; None where it calls none."""
    words = list(itertools.takewhile(lambda word: word not in ("|", ">", "&&"), words))
    for place, word in enumerate(words):
        program, rest = Path(word).name, words[place + 1 :]
        if program in PROGRAMS:
            return PROGRAMS[program], rest
        if program == "deepspeech" and rest:
            return ("client", rest) if rest[0].startswith("-") else find(rest)
    return None


@pages
def test_the_commands_of_a_page_have_options_that_are_read(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, words in filter(None, map(called, commands(page))):
        if name not in COMMANDS or {"--help", "--version"} & {*words}:
            continue
        for flag, value in itertools.pairwise(words):
            known = FLAGS.get(flag.removeprefix("--"))
            if flag.startswith("--") and known is not None and known.path == "file":
                Path(value).parent.mkdir(parents=True, exist_ok=True)
                Path(value).touch()
        parsed = module_of(name).parser(name).parse_args(words)  # raises, or exits, where it does not know an option
        assert not getattr(parsed, "notices", ()), words


@pages
def test_every_flag_that_a_page_mentions_exists(page):
    known = {*FLAGS, *OBSOLETE, *(name for family in TO_COME.values() for name in family), *NOT_IN_THE_TABLES}
    known |= OF_DOCKER | OF_PIP | OF_SLURM
    known |= {f"no{name}" for name, flag in FLAGS.items() if flag.type is bool or flag.alone}
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'add_argument\(\s*"--(\w+)"', script.read_text(encoding="utf-8")))
    for parser in all_parsers(whole_parser()):
        known |= {option.removeprefix("--") for action in parser._actions for option in action.option_strings}
    mentioned = set(re.findall(r"(?<![\w-])--([a-z]\w*)", page.read_text(encoding="utf-8")))
    assert not mentioned - known


@pages
def test_the_defaults_that_a_page_gives_in_a_table_are_those_of_the_flags(page):
    served = vars(module_of("serve").parser("serve").parse_args(["--model", "x"]))
    for name, default in re.findall(r"^\| `--(\w+)` \| ([\w./]+) \|", page.read_text(encoding="utf-8"), re.MULTILINE):
        if page.name == "serving.md":
            assert default == f"{served[name]:g}", f"--{name}"
            continue
        allowed = {FLAGS[name].default_text, "off" if FLAGS[name].default == 0 else "", "none"}
        assert default in allowed, f"--{name}"


@pages
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https://)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        other = (page.parent / path) if path else page
        assert other.is_file(), target
        assert not anchor or anchor in anchors(other), target


def test_no_page_is_an_orphan():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    in_the_navigation = set(re.findall(r"\w+\.md", str(site["nav"])))
    assert in_the_navigation == {path.name for path in (ROOT / "docs").glob("*.md")}
    assert in_the_navigation == {"index.md", *re.findall(r"\]\((\w+\.md)\)", contents)}


def test_the_messages_of_troubleshooting_are_those_of_the_program():
    from deepspeech_training.data.samples import HOW_TO_MEND
    from deepspeech_training.reporting.diagnosis import VERDICTS

    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", text, re.MULTILINE)) == HOW_TO_MEND
    assert re.findall(r"^\| ([A-Z]+: .+) \|$", text, re.MULTILINE) == list(VERDICTS.values())
    files = [ROOT / "Makefile", ROOT / "bin" / "_program.py", ROOT / "bin" / "docker.sh"]
    files += (ROOT / "deepspeech_training").rglob("*.py")
    sources = re.sub(r'"\s+f?"', "", "\n".join(path.read_text(encoding="utf-8") for path in files))
    messages = [message for message in re.findall(r"^\| `(.+?)`", text, re.MULTILINE) if " " in message]
    assert len(messages) > 30
    for part in (part.strip(" ()") for message in messages for part in message.split("...")):
        assert part in sources, part


def test_every_flag_of_deepspeech_and_coqui_is_on_the_page_for_migrating():
    text = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
    parts = re.split(r"^### ", text[text.index("## Flag by flag") :], flags=re.MULTILINE)[1:]
    same, different, without_effect, refused = parts
    changed = set(re.findall(r"^\| `--(\w+)`", different, re.MULTILINE))
    listed = set(re.findall(r"`--(\w+)`", same))
    assert listed and changed and listed | changed <= {*FLAGS}
    assert set(re.findall(r"^\| `--(\w+)`", without_effect, re.MULTILINE)) == {*OBSOLETE}
    assert {name for family in TO_COME.values() for name in family} <= set(re.findall(r"`--(\w+)`", refused))


def test_the_headings_that_the_program_refers_to_are_there():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "deepspeech_training").rglob("*.py"))
    references = re.findall(r'(docs/\w+\.md), "([^"]+)"', sources)
    assert references
    for page, heading in references:
        assert re.search(rf"^#+ {re.escape(heading)}$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_make_targets_of_the_readme_are_those_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^|`)make (?:PYTHON=\S+ )?([a-z]+)(?:`|$)", text, re.MULTILINE))
    assert {"smoke", "test", "check", "clean"} <= used <= targets


def test_the_reason_codes_of_the_check_are_all_explained():
    from deepspeech_training.data.sample import REASON_CODES

    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| [^`]", text[text.index("| reason_code") :], re.MULTILINE) == list(REASON_CODES)


def test_the_weights_of_a_network_are_those_of_the_page():
    from deepspeech_training.models.deepspeech import DeepSpeech

    text = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    n, classes = 8, 5
    shapes = {}
    for names, sizes in re.findall(r"^\| (`l[^|]+`) \| (\[[^|]+\]) \|", text, re.MULTILINE):
        units = {"494": 494, "n": n, "2n": 2 * n, "4n": 4 * n, "C": classes}
        for name, size in zip(re.findall("`([^`]+)`", names), re.findall(r"\[([^]]+)\]", sizes), strict=False):
            shapes[name] = tuple(units[part] for part in size.split(", "))
    gamma = shapes.pop("layer_K/layer_norm/gamma")
    assert shapes == DeepSpeech(num_classes=classes, n_hidden=n).weight_shapes()
    normed = DeepSpeech(num_classes=classes, n_hidden=n, layer_norm=True).weight_shapes()
    assert {name.split("/")[0] for name in normed if name.endswith("gamma")} == {f"layer_{k}" for k in (1, 2, 3, 5)}
    assert all(shape == gamma for name, shape in normed.items() if "layer_norm" in name)


def test_the_presets_of_the_page_are_those_of_the_program():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    columns = (
        "n_hidden",
        "train_batch_size",
        "learning_rate",
        "dropout_rate",
        "epochs",
        "min_epochs",
        "es_epochs",
        "plateau_epochs",
    )
    wanted = [
        [f"`{name}`", preset.amount, *(str(preset.values[column]) for column in columns), preset.expect]
        for name, preset in PRESETS.items()
    ]
    assert _rows_of(text, "| preset |") == wanted
    columns = (
        "conformer_size",
        "train_batch_size",
        "learning_rate",
        "warmup_epochs",
        "dropout_rate",
        "ema",
        "epochs",
    )
    wanted = [[f"`{name}`", *(str(preset.conformer[column]) for column in columns)] for name, preset in PRESETS.items()]
    assert _rows_of(text, "| preset of a conformer |") == wanted


def _rows_of(text: str, head: str) -> list[list[str]]:
    """The rows of the table that begins with these words, without its head."""
    return [line.strip("| ").split(" | ") for line in text[text.index(head) :].split("\n\n")[0].splitlines()][2:]


def test_the_page_of_the_api_has_every_public_name():
    """Its text is made of docstrings when the site is built; here that nothing was forgotten, or has moved away."""
    listed = re.findall(
        r"^::: deepspeech_training\.(.+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M
    )
    for name in listed:
        module, _, attribute = name.rpartition(".")
        assert inspect.getdoc(getattr(importlib.import_module(f"deepspeech_training.{module}"), attribute)), name
    names = {name.rpartition(".")[2] for name in listed}
    assert {name for name in deepspeech_training.__all__ if not name.startswith("_")} <= names
