"""Folders and archives: what is listed, what is refused."""

import io
import tarfile
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.importers import source as source_module
from deepspeech_training.importers.ledger import WHOLE, Ledger
from deepspeech_training.importers.source import NotSafe, ends_with, open_source, read_lines, safe_name


@pytest.fixture
def opened(tmp_path):
    ledgers = []

    def open_it(path):
        work = tmp_path / f"work{len(ledgers)}"
        work.mkdir()
        ledgers.append(Ledger(work / "ledger.sqlite"))
        source = open_source(
            [path], work_dir=work, ledger=ledgers[-1], is_text=ends_with("*.tsv"), console=Console(stream=io.StringIO())
        )
        return source, ledgers[-1]

    yield open_it
    for ledger in ledgers:
        ledger.db.close()


def tar_with(path, *infos, mode="w"):
    with tarfile.open(path, mode) as tar:
        for info, content in infos:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def entry(name, content=b"abc", **values):
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info, content


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_gives_its_texts_and_recordings_and_refuses_the_rest(tmp_path, opened, mode):
    end = {"w": ".tar", "w:gz": ".tar.gz", "w:bz2": ".tar.bz2", "w:xz": ".tar.xz"}[mode]
    path = tar_with(
        tmp_path / f"a{end}",
        entry("./en/clips/1.mp3", b"one"),
        entry("/etc/passwd"),
        entry("en/../../x"),
        entry("en/link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("en/hard", b"", type=tarfile.LNKTYPE, linkname="en/clips/1.mp3"),
        entry("en/device", b"", type=tarfile.CHRTYPE),
        entry("en/t.tsv", b"a\tb\n"),
        entry("en/clips/1.mp3", b"two"),
        mode=mode,
    )
    source, ledger = opened(path)
    assert list(source.glob("**/*")) == ["en/clips/1.mp3", "en/t.tsv"]
    assert [line for _, line in read_lines(source, "en/t.tsv")] == ["a\tb"]
    assert ledger.one("SELECT count(*) FROM entry WHERE fault != ''") == 5
    ledger.clip_id("en/clips/1.mp3", WHOLE, WHOLE, "1")
    ledger.clip_id("en/link", WHOLE, WHOLE, "link")
    ledger.db.execute("UPDATE clip SET needed = 1")
    (recording,) = source.recordings(ledger)
    assert recording.name == "en/clips/1.mp3" and recording.path.read_bytes() == b"one"


def test_a_zip_refuses_links_escapes_and_bombs(tmp_path, opened):
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("en/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("en/1.mp3", b"one")
        archive.writestr("../x", b"x")
        archive.writestr("C:/x", b"x")
        archive.writestr(link, b"/etc/passwd")
        archive.writestr("en/bomb.tsv", b"\0" * 60_000_000, compresslevel=9)
    source, ledger = opened(path)
    assert list(source.glob("**/*.mp3")) == ["en/1.mp3"]
    faults = dict(ledger.db.execute("SELECT name, fault FROM entry WHERE fault != ''"))
    assert set(faults) >= {"../x", "C:/x", "en/link"}


def test_absurd_sizes_are_errors(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_ENTRY_BYTES", 1000)
    path = tar_with(tmp_path / "a.tar", entry("a.mp3", bytes(2000)))
    with pytest.raises(UserError, match=r"a\.tar: a\.mp3 has 2,000 bytes"):
        opened(path)
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info, content = entry("a.mp3")
        info.pax_headers = {"comment": "x" * (2 << 20)}
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UserError, match="header of absurd size"):
        opened(tmp_path / "b.tar")


@pytest.mark.parametrize("packing", ["", "gz", "bz2", "xz"])
def test_a_tar_is_unpacked_a_little_at_a_time(tmp_path, opened, packing):
    path = tmp_path / f"a.tar.{packing}".rstrip(".")
    tar_with(path, entry("en/long.wav", bytes(64 << 20)), entry("en/a.tsv", b"path\n"), mode=f"w:{packing}")
    tracemalloc.start()
    source, ledger = opened(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20  # bzip2's blocks and xz's dictionary are some MB
    assert ledger.entry_size(str(path), "en/long.wav") == 64 << 20
    with source.open("en/a.tsv") as file:
        assert file.read() == b"path\n"
    if packing:
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(UserError, match="damaged or cut short"):
            opened(path)


@pytest.mark.parametrize("end", [".tar.gz", ".zip", ".tar"])
def test_a_damaged_archive_is_named(tmp_path, opened, end):
    path = tmp_path / f"a{end}"
    path.write_bytes(b"this is no archive" * 100)
    with pytest.raises(UserError, match="damaged or cut short"):
        opened(path)
    if end == ".tar.gz":
        tar_with(path, entry("a.mp3", bytes(range(256)) * 1000), mode="w:gz")
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(UserError, match="damaged or cut short"):
            opened(path)


def test_other_files_and_missing_ones_are_named(tmp_path, opened):
    (tmp_path / "a.rar").touch()
    with pytest.raises(UserError, match="neither a folder nor an archive"):
        opened(tmp_path / "a.rar")
    with pytest.raises(UserError, match="no such folder or archive"):
        opened(tmp_path / "b.zip")


def test_a_folder_is_listed_in_order(tmp_path, opened):
    root = tmp_path / "corpus"
    for name in ("b/2.wav", "b/10.wav", "a.tsv", "c/d/e.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    source, _ = opened(root)
    assert list(source.glob("**/*.wav")) == ["b/10.wav", "b/2.wav", "c/d/e.wav"]
    assert list(source.glob("*/*.wav")) == ["b/10.wav", "b/2.wav"]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_safe_name_stays_inside(name):
    try:
        safe = safe_name(name)
    except NotSafe:
        return
    assert not safe.startswith("/") and ".." not in safe.split("/") and safe.encode()
    assert safe_name(safe) == safe


@settings(deadline=None)
@given(st.binary(max_size=1500))
def test_no_bytes_crash_the_reader_of_archives(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    tar_with(folder / "good.tar", entry("a.tsv", b"x" * 100), entry("b.mp3"))
    good = bytearray((folder / "good.tar").read_bytes())
    good[: len(data)] = bytes(a ^ b for a, b in zip(data, good, strict=False)) if len(data) % 2 else data
    for name, content in (("a.tar", bytes(good)), ("b.zip", b"PK\x03\x04" + data)):
        (folder / name).write_bytes(content)
        ledger = Ledger(folder / f"{name}.sqlite")
        try:
            open_source(
                [folder / name],
                work_dir=folder,
                ledger=ledger,
                is_text=ends_with("*.tsv"),
                console=Console(stream=io.StringIO()),
            )
        except UserError:
            pass
        finally:
            ledger.db.close()
