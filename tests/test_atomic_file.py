import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_training import atomic_file
from deepspeech_training.atomic_file import check_writable, write_atomically
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


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "elsewhere" / "target.json", tmp_path / "link.json"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, [b"new"])
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_a_link_to_nothing_gets_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", [b"new"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_a_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, [b"hello"])
    assert os.read(reader, 10) == b"hello" and stat.S_ISFIFO(os.stat(pipe).st_mode)
    os.close(reader)


def test_a_device_is_never_replaced():
    write_atomically(Path("/dev/null"), [b"gone"])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_stdout_in_a_file_keeps_what_was_printed_before_and_is_printed_after(tmp_path):
    program = (
        "from pathlib import Path; from deepspeech_training.atomic_file import write_atomically\n"
        "print('before', flush=True); write_atomically(Path('/dev/stdout'), [b'written\\n']); print('after')"
    )
    with open(tmp_path / "out.txt", "ab") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\nwritten\nafter\n"


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path):
    for name in ("n" * 255, "ü" * 127):
        write_atomically(tmp_path / name, [b"new"])
        assert (tmp_path / name).read_bytes() == b"new"


def test_the_permissions_of_the_old_file_stay(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomically(path, [b"new"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "said"), [("no/a.json", "there is no folder"), (".", "is a folder"), ("file/a.json", "no folder")]
)
def test_what_cannot_be_written_is_found_before_the_work(tmp_path, name, said):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=said):
        check_writable(tmp_path / name)


def test_what_can_be_written_is_left_as_it_is(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    for writable in (path, tmp_path / "new.json", Path("/dev/null")):
        check_writable(writable)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and path.read_bytes() == b"old"
