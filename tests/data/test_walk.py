"""Which files are below a folder."""

import os

import pytest

from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """Two folders inside, one outside, and links between them."""
    for name in (
        "root/b/1.wav",
        "root/a/2.wav",
        "root/a/10.wav",
        "root/.git/x.wav",
        "outside/deep/3.wav",
        "root/4.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = tmp_path / "root"
    (root / "0-outside").symlink_to(tmp_path / "outside")
    (root / "again").symlink_to(tmp_path / "outside")
    (root / "0-b").symlink_to("b")
    (root / "a" / "up").symlink_to(root)
    (tmp_path / "outside" / "up").symlink_to("..")
    (tmp_path / "outside" / "deep" / "back").symlink_to(root / "a")
    return root


def test_each_real_folder_counts_once_and_loops_end(tree):
    names = list(names_below(tree, hidden=False))
    assert names == ["4.wav", "a/10.wav", "a/2.wav", "b/1.wav", "0-outside/deep/3.wav"]
    assert next(names_below(tree)) == ".git/x.wav"


def test_a_link_to_the_root_is_the_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert list(names_below(tmp_path / "link", hidden=False)) == list(names_below(tree, hidden=False))


def test_only_what_is_wanted_at_the_depth_that_is_wanted(tree):
    assert list(names_below(tree, lambda name: name.endswith("1.wav"), depth=1)) == ["b/1.wav"]
    assert list(names_below(tree, depth=0)) == ["4.wav"]
    assert list(names_below(tree, depth=2)) == ["0-outside/deep/3.wav"]


def test_a_broken_link_is_named(tree):
    (tree / "gone.wav").symlink_to("nowhere.wav")
    (tree / "itself.wav").symlink_to("itself.wav")
    assert {"gone.wav", "itself.wav"} <= set(names_below(tree))


def test_a_folder_that_cannot_be_read_is_told(tree, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a/"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    faults: list[str] = []
    assert "b/1.wav" in list(names_below(tree, faults=faults))
    assert faults == [f"{tree}/a: the folder cannot be read: Permission denied"]
    with pytest.raises(UserError, match="/a: the folder cannot be read: Permission denied"):
        list(names_below(tree))
