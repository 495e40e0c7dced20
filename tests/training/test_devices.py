import pytest

from deepspeech_training.errors import UserError
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.training import memory
from deepspeech_training.training.backends.tensorflow import devices

GIB = 2**30


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A function that writes files of /proc and /sys; the machine of the test has these files and no others."""
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / path.lstrip("/"))

    def write(files):
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("flags\t\t: fpu avx512_bf16 sse\n", True),
        ("model name: x\nflags\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t: fpu avx512f avx2\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_told_from_the_processors_flags(root, text, has):
    root({"/proc/cpuinfo": text})
    assert devices.cpu_has_bfloat16() is has


def test_without_proc_there_is_no_bfloat16(root):
    assert devices.cpu_has_bfloat16() is False


def test_the_memory_of_a_step_grows_with_what_it_holds():
    def needed(n_hidden: int = 64, clips: int = 4, frames: int = 100) -> int:
        return DeepSpeech(num_classes=29, n_hidden=n_hidden).step_bytes(clips=clips, frames=frames)

    assert all(needed(**{name: 200}) > needed() for name in ("n_hidden", "clips", "frames"))


@pytest.mark.parametrize(
    ("available", "trains", "on_gpu", "refused"),
    [
        (512 * 2**20, True, False, True),
        (512 * 2**20, False, False, True),
        (2 * GIB, True, False, False),
        (2 * GIB, True, True, False),
        (None, True, False, False),
    ],
)
def test_what_cannot_fit_is_refused_with_the_figure_it_needs(monkeypatch, available, trains, on_gpu, refused):
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    monkeypatch.setattr(memory, "memory_limit", lambda: available)
    network = DeepSpeech(num_classes=29, n_hidden=512)

    def check():
        memory.check_memory_to_begin(network, frames=250, trains=trains, on_gpu=on_gpu)

    if not refused:
        check()
        return
    with pytest.raises(UserError, match=r"needs about 0\.[67]\d GB of memory.*0\.54 GB are free \(the limit"):
        check()
