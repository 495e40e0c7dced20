import errno
import os

import pytest

from deepspeech_training import atomic_file
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.errors import UserError


def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, [b"old"])

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic_file.os, "fsync", full)
    with pytest.raises(UserError, match=r"no space left.*\n.*--max_to_keep"):
        write_atomically(path, [b"new"])
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "failure", [RuntimeError("bug"), KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")]
)
def test_a_failure_in_the_middle_leaves_the_old_file_and_no_other(tmp_path, failure):
    path = tmp_path / "a.json"
    write_atomically(path, [b"old"])

    def chunks():
        yield b"new"
        raise failure

    with pytest.raises(UserError if isinstance(failure, OSError) else type(failure)):
        write_atomically(path, chunks())
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_rename_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, [b"old"])

    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(atomic_file.os, "replace", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        write_atomically(path, [b"new"])
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "no" / "a.json", [b"new"])


def test_a_mount_that_cannot_sync_folders_is_no_obstacle(tmp_path, monkeypatch):
    sync = os.fsync

    def files_only(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(atomic_file.os, "fsync", files_only)
    write_atomically(tmp_path / "a.json", [b"new"])
    assert (tmp_path / "a.json").read_bytes() == b"new"
