"""CSVs packed into shards, and clips read out of them."""

import csv
import io
import json
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio import shards
from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.audio.files import AudioError, read_audio, read_audio_info
from deepspeech_training.commands.main import run
from deepspeech_training.data import pack as packing
from deepspeech_training.data.rows import audio_path, read_rows
from deepspeech_training.errors import UserError


@pytest.fixture
def train(corpus, tmp_path) -> str:
    """A CSV of six clips: WAV and FLAC, a column of its own, and a transcript that is not in NFC."""
    path = Path(corpus(["a b", "cafe\u0301", "hello, there", "d", "e", "f"], speakers=list("xxyyzz")))
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    for number, row in enumerate(rows[1:]):
        samples = (3000 * np.random.default_rng(number).standard_normal(4000 + 100 * number)).astype(np.int16)
        row[0] = f"train_wavs/{number}.{'flac' if number % 2 else 'wav'}"
        soundfile.write(path.parent / row[0], samples, 16000)
        row[1] = os.path.getsize(path.parent / row[0])
        row.append(f"note {number}")
    rows[0].append("note")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def pack(train: str, folder: Path, *more: str) -> int:
    return run("data pack", [train, "--output", str(folder), *more])


def columns(path: str | Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def clips_of(csv_path: str | Path) -> list[str]:
    return [audio_path(str(csv_path), row.wav_filename) for row in read_rows(csv_path)]


def test_clips_come_out_of_shards_as_they_went_in(train, tmp_path):
    assert pack(train, tmp_path / "packed", "--shard_size", "20kB") == 0
    packed = tmp_path / "packed" / "train.csv"
    before, after = columns(train), columns(packed)
    assert len(list((tmp_path / "packed").glob("*.tar"))) > 1
    for old, new, path, source in zip(before, after, clips_of(packed), clips_of(train), strict=True):
        assert new["original"] == old["wav_filename"] and Path(path).suffix == Path(source).suffix
        assert new.items() >= {name: value for name, value in old.items() if name != "wav_filename"}.items()
        assert shards.read_bytes(path) == Path(source).read_bytes()
        assert read_audio_info(path) == read_audio_info(source)
        np.testing.assert_array_equal(read_audio(path, sample_rate=8000), read_audio(source, sample_rate=8000))
    assert [row.row for row in read_rows(packed)] == [row.row for row in read_rows(train)]


def test_a_shard_is_a_plain_tar_in_the_order_of_webdataset(train, tmp_path):
    assert pack(train, tmp_path / "packed") == 0
    with tarfile.open(tmp_path / "packed" / "train-000000.tar", "r:") as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    assert [name for name, _ in members[:4]] == ["000000002.wav", "000000002.txt", "000000002.json", "000000003.flac"]
    said = json.loads(dict(members)["000000003.json"])
    assert dict(members)["000000003.txt"].decode() == said["transcript"] == "café"
    assert said["client_id"] == "x" and said["note"] == "note 1" and said["duration"] == 4100 / 16000
    assert soundfile.read(io.BytesIO(dict(members)["000000003.flac"]))[0].shape == (4100,)


@pytest.mark.parametrize(("kind", "is_exact"), [("flac", True), ("wav", True), ("opus", False)])
def test_clips_are_converted(kind, is_exact, train, tmp_path, capsys):
    assert pack(train, tmp_path / "packed", "--format", kind) == 0
    packed = tmp_path / "packed" / "train.csv"
    for row, path, source in zip(columns(packed), clips_of(packed), clips_of(train), strict=True):
        assert path.endswith(f".{kind}") and int(row["wav_filesize"]) == shards.size_of(path)
        audio, wanted = read_audio(path, sample_rate=16000), read_audio(source, sample_rate=16000)
        assert read_audio_info(path).num_frames == len(audio)
        assert np.array_equal(audio, wanted) or not is_exact
    assert pack(train, tmp_path / "packed", "--format", "opus", "--sample_rate", "44100") == 2
    assert "44100: Opus has 8000" in capsys.readouterr().err


def test_a_pack_that_was_stopped_resumes_with_the_shard_in_hand(train, tmp_path, monkeypatch, capsys):
    assert pack(train, tmp_path / "whole", "--shard_size", "20kB") == 0
    folder, close = tmp_path / "packed", packing.TarShard.close

    def killed(self):
        if self.path.name == "train-000001.tar":
            self._file.flush()
            raise UserError("the disk is full")
        close(self)

    monkeypatch.setattr(packing.TarShard, "close", killed)
    assert pack(train, folder, "--shard_size", "20kB") == 1
    assert sorted(os.listdir(folder)) == ["train-000000.idx", "train-000000.tar"]
    (folder / ".train-000001.tar.part").write_bytes(b"of a process that was killed")
    first = (folder / "train-000000.tar").stat()
    monkeypatch.setattr(packing.TarShard, "close", close)
    assert pack(train, folder, "--shard_size", "20kB") == 0
    assert "1 of them from an earlier call" in capsys.readouterr().out
    assert (folder / "train-000000.tar").stat() == first
    assert sorted(os.listdir(folder)) == sorted(os.listdir(tmp_path / "whole"))
    for path in (tmp_path / "whole").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_shard_of_rows_that_have_changed_is_packed_anew(train, tmp_path, make_wav, capsys):
    folder = tmp_path / "packed"
    pack(train, folder, "--shard_size", "20kB")
    number = len(list(folder.glob("*.tar")))
    capsys.readouterr()
    make_wav(tmp_path / "train_wavs" / "4.wav", 0.3)
    assert pack(train, folder, "--shard_size", "20kB") == 0
    assert f"{number - 1} of them from an earlier call" in capsys.readouterr().out
    assert read_audio_info(clips_of(folder / "train.csv")[4]).num_frames == 4800
    Path(train).write_text(Path(train).read_text(encoding="utf-8").replace("note 0", "note"), encoding="utf-8")
    assert pack(train, folder) == 0  # another first row, and the shards are larger
    assert "from an earlier call" not in capsys.readouterr().out and columns(folder / "train.csv")[0]["note"] == "note"


def test_rows_whose_clips_cannot_be_read_are_named_or_left_out(train, tmp_path, capsys):
    (tmp_path / "train_wavs" / "1.flac").write_bytes(b"no audio")
    (tmp_path / "train_wavs" / "2.wav").unlink()
    assert pack(train, tmp_path / "packed") == 1
    said = capsys.readouterr().err
    assert "train.csv, row 3: not audio" in said and "row 4: the file does not exist" in said and "2 of 6" in said
    assert not (tmp_path / "packed" / "train.csv").exists()
    assert pack(train, tmp_path / "packed", "--on_bad_row", "drop") == 0
    assert "1 of them from an earlier call" in capsys.readouterr().out
    assert [row["note"] for row in columns(tmp_path / "packed" / "train.csv")] == [f"note {n}" for n in (0, 3, 4, 5)]


def test_the_csv_that_is_packed_is_not_replaced(train, tmp_path, capsys):
    assert pack(train, tmp_path) == 2 and "would be replaced" in capsys.readouterr().err
    assert run("data pack", [train, str(tmp_path / "x" / "train.csv"), "--output", str(tmp_path / "y")]) == 2
    assert "the same name" in capsys.readouterr().err


def test_a_folder_stands_for_the_csv_of_each_set(train, corpus, tmp_path, capsys):
    folder, dev = str(tmp_path / "packed"), corpus(["g"], name="dev-clean.csv")
    assert run("data pack", [train, dev, "--output", folder]) == 0
    Path(train).unlink()
    flags = ["--train_files", folder, "--dev_files", folder, "--checkpoint_dir", str(tmp_path / "checkpoints")]
    assert run("data check", [*flags, "--on_bad_row", "drop"]) == 1  # é and a comma
    said = capsys.readouterr().out
    assert "4 rows can be used, 2 cannot" in said and "dev-clean.csv" in said and "2 shards, 0 faults" in said
    assert run("data check", ["--test_files", folder, *flags[4:]]) == 1
    assert "no CSV in this folder has a name that begins with test" in capsys.readouterr().err
    assert run("data stats", [folder]) == 0 and "all together: 7 clips" in capsys.readouterr().out


def test_damage_is_found_and_named_with_the_clip(train, tmp_path, capsys):
    folder = tmp_path / "packed"
    assert pack(train, folder, "--shard_size", "1GB") == 0
    path = clips_of(folder / "train.csv")[2]
    where = shards.stretch_of(path)
    shard = folder / "train-000000.tar"
    data = bytearray(shard.read_bytes())
    data[where.offset + 2000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(AudioError, match="is damaged at this clip"):
        read_audio(path, sample_rate=16000)
    flags = ["--train_files", str(folder), "--checkpoint_dir", str(tmp_path / "none"), "--on_bad_row", "drop"]
    assert run("data check", flags) == 1
    assert "train-000000.tar: the clip of row 4" in capsys.readouterr().err
    assert run("data check", [*flags, "--skip_checksums"]) == 1 and "row 4" not in capsys.readouterr().err
    shard.write_bytes(data[:-1])
    with pytest.raises(AudioError, match="it is cut, or the two do not belong together"):
        read_audio_info(path)
    shard.unlink()
    with pytest.raises(AudioError, match="does not exist") as missing:
        read_audio_info(path)
    assert missing.value.code == "missing_file"


def test_an_archive_and_its_index_are_not_trusted(train, tmp_path):
    assert pack(train, tmp_path / "packed") == 0
    path = clips_of(tmp_path / "packed" / "train.csv")[1]
    where, index = shards.stretch_of(path), Path(shards.index_path(tmp_path / "packed" / "train-000000.tar"))

    def fault(offset: int, size: int) -> str:
        with pytest.raises(AudioError) as error:
            read_audio(f"{where.shard}#{offset}+{size}.flac", sample_rate=16000)
        return error.value.reason

    assert "its index knows of none" in fault(where.offset, where.size - 1)
    assert "the shard has" in fault(10**17, 5) and "at most" in fault(0, 1 << 40)
    sound = index.read_bytes()
    for data, said in ((sound[:-1], "promises"), (sound[:20], "is cut"), (b"x" + sound[1:], "no index")):
        index.write_bytes(data)
        shards._opened.cache_clear()
        assert said in fault(where.offset, where.size)
    index.write_bytes(sound[:-1] + b"x")
    shards._opened.cache_clear()
    assert "its checksum is wrong" in fault(where.offset, where.size)
    index.unlink()
    shards._opened.cache_clear()
    assert "no file of this size begins there" in fault(where.offset + 512, where.size)
    assert "before the first one" in fault(5, 100)
    assert len(read_audio(path, sample_rate=16000)) == 4100  # the tar itself says that a clip begins there
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(AudioError, match="not a regular file"):
        read_audio(f"{tmp_path}/pipe.tar#512+10.wav", sample_rate=16000)


def test_shards_that_were_not_used_for_long_are_closed(train, tmp_path, monkeypatch):
    assert pack(train, tmp_path / "packed", "--shard_size", "1") == 0
    shards._opened.cache_clear()
    before = len(os.listdir("/proc/self/fd"))
    paths = clips_of(tmp_path / "packed" / "train.csv")
    for path in paths:
        read_audio(path, sample_rate=16000)
    assert len(os.listdir("/proc/self/fd")) == before + 2 * len(paths)  # and its index
    shards._opened.cache_clear()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_cache_of_decoded_audio_keeps_clips_of_shards(train, tmp_path):
    assert pack(train, tmp_path / "packed") == 0
    path = clips_of(tmp_path / "packed" / "train.csv")[1]
    cache = AudioCache(tmp_path / "cache", sample_rate=8000, max_bytes=10**9, warn=pytest.fail)
    first, again = cache.read(path), cache.read(path)
    np.testing.assert_array_equal(first, read_audio(path, sample_rate=8000))
    np.testing.assert_array_equal(first, again)
    assert (cache.hits, cache.misses) == (1, 1)
    cache.close()


def test_a_clip_in_a_shard_is_shown_and_copied(train, tmp_path):
    assert pack(train, tmp_path / "packed") == 0
    listen = tmp_path / "listen"
    assert run("data show", [str(tmp_path / "packed"), "--match", "hello", "--copy_to", str(listen)]) == 0
    (copied,) = (path for path in listen.iterdir() if path.suffix == ".wav")
    assert copied.read_bytes() == (tmp_path / "train_wavs" / "2.wav").read_bytes()


@pytest.mark.slow
def test_a_run_from_shards_ends_as_one_from_files(tmp_path):
    from training.processes import assert_same_end, kill_in, make_corpus, transcripts
    from training.processes import run as run_program

    train = make_corpus(tmp_path / "corpus", transcripts(10), name="train.csv", file_rates=(16000, 22050))
    dev = make_corpus(tmp_path / "corpus", transcripts(6), seed=99, name="dev.csv")
    packed = tmp_path / "packed"
    assert run("data pack", [train, dev, "--output", str(packed), "--shard_size", "100kB"]) == 0

    def flags(name: str, train: str | Path, dev: str | Path) -> list:
        files = ["--train_files", train, "--dev_files", dev, "--checkpoint_dir", tmp_path / name]
        net = ["--n_hidden", 16, "--train_batch_size", 2, "--epochs", 2, "--intra_op_parallelism_threads", 1]
        return [*files, *net, "--checkpoint_secs", 1]

    assert run_program(*flags("files", train, dev)).code == 0
    assert kill_in("in a step", tmp_path / "killed", 1, *flags("killed", packed, packed)).code == -signal.SIGKILL
    assert run_program(*flags("killed", packed, packed)).code == 0
    assert_same_end(tmp_path / "files", tmp_path / "killed")
