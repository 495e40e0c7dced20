"""The rules of the architecture: imports between packages point one way, and one package names TensorFlow."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "deepspeech_training"
# From the ground up: what stands in a line imports from its own line and from those before it.
ORDER = """
errors version
console array_file atomic_file text_files alphabet
audio
data features
augment
models
config
reporting
machine
decoding
runtime
checkpoints
importers scorer exporting
registry
publishing
inference serving
studio
tasks
training
app
commands api
""".strip().splitlines()
TENSORFLOW = "training.backends.tensorflow"
NEED_TENSORFLOW = (
    "augment.random",
    "augment.spectrogram",
    "features.mfcc_keras",
    "models.conformer.network",
    "models.deepspeech.network",
    "models.dropout",
    "models.ds_tc_resnet.network",
    "models.kernels",
    "models.layers",
    "models.leading_blanks",
    "models.word_layers",
    "tasks.pronunciation.objective",
    "tasks.speech_to_text.consistency",
    "tasks.speech_to_text.objective",
    "tasks.spoken_command.objective",
    TENSORFLOW + ".devices",
    TENSORFLOW + ".kernels",
    TENSORFLOW + ".step",
    TENSORFLOW + ".workers",
)


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        if name and name != "__main__":
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imported(tree: ast.Module) -> set[str]:
    """Absolute names of all that a module imports, at any depth."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def level(name: str) -> int:
    return next(number for number, line in enumerate(ORDER) if name.split(".")[0] in line.split())


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    for other in imported(MODULES[name]):
        if other.startswith("deepspeech_training."):
            other = other.removeprefix("deepspeech_training.")
            assert level(other) <= level(name), f"{name} imports {other}, which stands above it"


def test_one_package_names_tensorflow_and_few_use_keras():
    def users(package: str) -> set[str]:
        return {name for name, tree in MODULES.items() if any(n.split(".")[0] == package for n in imported(tree))}

    assert all(name.startswith(TENSORFLOW) for name in users("tensorflow"))
    assert users("keras") <= set(NEED_TENSORFLOW)


def test_all_else_can_be_imported_where_tensorflow_and_keras_are_missing():
    assert set(MODULES) >= set(NEED_TENSORFLOW)
    without = ["deepspeech_training." + name for name in MODULES if not name.startswith(NEED_TENSORFLOW)]
    script = (
        "import sys, importlib\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        f"for name in {without!r}: importlib.import_module(name)\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("folder", ["benchmarks", "bin"])
def test_programs_import_what_there_is(folder):
    """They are in no package, so mypy does not read them, and most are run by hand."""
    for path in sorted((PACKAGE.parent / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
                for name in (alias.name for alias in node.names):
                    found = importlib.import_module(node.module)
                    is_there = hasattr(found, name) or importlib.util.find_spec(f"{node.module}.{name}")
                    assert is_there, f"{path.name}:{node.lineno}: {node.module} has no {name}"
