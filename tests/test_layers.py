"""The two rules of the architecture (docs: one way of imports, one file that names TensorFlow)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "deepspeech_training"
# From the ground up; a module imports from its own layer and from those before it.
LAYERS = [
    {
        "errors", "version", "console", "augmentations", "config", "features_geometry", "network_geometry", "mel",
        "atomic_file", "normalisation", "presets", "resources",
    },
    {
        "alphabet", "ancestor_checkpoint", "audio", "average", "compute", "diagnosis", "samples", "metrics", "decoding",
        "checkpoint_file", "synthetic_speech", "importers", "voice_data",
    },
    {"export", "inference", "scorer", "data_tools"},
    {"data", "features", "models", "spectrogram_augment", "stateless_random"},
    {"tasks"},
    {"engine", "serving", "inspection", "sessions"},
    {"cli", "banner", "doctor", "augment_preview"},
]  # fmt: skip
TENSORFLOW_FILE = "engine.tensorflow_backend"
USE_KERAS = {
    "features", "spectrogram_augment", "stateless_random", "models.deepspeech", "models.kernels",
    "models.leading_blanks", TENSORFLOW_FILE,
}  # fmt: skip
NEED_TENSORFLOW = USE_KERAS | {"tasks.speech_to_text"}


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


def layer(name: str) -> int:
    top = name.split(".")[0]
    return next(number for number, layer_names in enumerate(LAYERS) if top in layer_names)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    for other in imported(MODULES[name]):
        if other.startswith("deepspeech_training."):
            other = other.removeprefix("deepspeech_training.")
            assert layer(other) <= layer(name), f"{name} imports {other}, which stands above it"


def test_one_file_names_tensorflow_and_few_use_keras():
    def users(package: str) -> set[str]:
        return {name for name, tree in MODULES.items() if any(n.split(".")[0] == package for n in imported(tree))}

    assert users("tensorflow") == {TENSORFLOW_FILE}
    assert users("keras") == USE_KERAS


def test_all_else_can_be_imported_where_tensorflow_and_keras_are_missing():
    assert set(MODULES) >= NEED_TENSORFLOW
    without = ["deepspeech_training." + name for name in MODULES if name not in NEED_TENSORFLOW]
    script = (
        "import sys, importlib\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        f"for name in {without!r}: importlib.import_module(name)\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
