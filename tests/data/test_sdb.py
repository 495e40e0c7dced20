"""DeepSpeech's sample databases: written byte for byte as its own writer does, read without trust, and trained on."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.audio import opus_packets
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.files import read_audio, read_audio_info
from deepspeech_training.audio.sdb import read_samples
from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.commands.main import run
from deepspeech_training.console import Console
from deepspeech_training.data.plan import BatchRules, Plan
from deepspeech_training.data.rows import audio_path, count_lines, read_rows
from deepspeech_training.data.samples import check_sets
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry

TEXTS = ["b a", "café", "c", "a b c d"]


@pytest.fixture
def train(tmp_path) -> Path:
    """A CSV of four clips: two WAVs at 16 kHz, a FLAC and a WAV at 22.05 kHz, the second of which is the smallest."""
    rows = [["wav_filename", "wav_filesize", "transcript"]]
    for number, text in enumerate(TEXTS):
        rate = 22050 if number == 3 else 16000
        name = f"{number}.{'flac' if number == 2 else 'wav'}"
        length = 4000 if number == 1 else 8000 + 100 * number
        samples = (3000 * np.random.default_rng(number).standard_normal(length)).astype(np.int16)
        soundfile.write(tmp_path / name, samples, rate)
        rows.append([name, str(os.path.getsize(tmp_path / name)), text])
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "train.csv"


@pytest.fixture
def sdb(train, tmp_path) -> Path:
    assert run("data pack", [str(train), "--output", str(tmp_path / "packed"), "--format", "sdb"]) == 0
    return tmp_path / "packed" / "train.sdb"


def layout(clips: list[bytes], texts: list[str] | None, mime: bytes) -> bytes:
    """A database, as the description of the format has it."""

    def u32(number: int) -> bytes:
        return number.to_bytes(4, "big")

    def u64(number: int) -> bytes:
        return number.to_bytes(8, "big")

    schema = b'{"schema": [{"content": "speech", "mime-type": "' + mime + b'"}'
    schema += b"]}" if texts is None else b', {"content": "transcript", "mime-type": "text/plain"}]}'
    head = b"SAMPLEDB" + u64(len(schema)) + schema
    offsets, entries = [], b""
    for number, clip in enumerate(clips):
        offsets.append(len(head) + 16 + len(entries))
        entry = u32(len(clip)) + clip
        if texts is not None:
            entry += u32(len(texts[number].encode())) + texts[number].encode()
        entries += u32(len(entry)) + entry
    index = u64(len(clips)) + b"".join(map(u64, offsets))
    return head + u64(8 + len(entries)) + u64(len(clips)) + entries + u64(len(index)) + index


def clips_of(path: Path) -> list[str]:
    return [audio_path(str(path), row.wav_filename) for row in read_rows(path)]


def test_a_database_has_the_bytes_of_deepspeechs_writer(train, sdb, tmp_path, capsys):
    data = sdb.read_bytes()
    clips = [data[s.offset : s.offset + s.size] for s in read_samples(sdb)]
    assert data == layout(clips, TEXTS, b"audio/wav")
    assert clips[0] == (tmp_path / "0.wav").read_bytes() and clips[1] == (tmp_path / "1.wav").read_bytes()
    for path, source in zip(clips_of(sdb), clips_of(train), strict=True):
        np.testing.assert_array_equal(
            read_audio(path, sample_rate=16000, dtype="int16"), read_audio(source, sample_rate=16000, dtype="int16")
        )
    assert [row.transcript for row in read_rows(sdb)] == TEXTS and count_lines(sdb) == 5
    assert [row.row for row in read_rows(sdb)] == [2, 3, 4, 5]
    pack = ["data pack", [str(sdb), "--output", str(tmp_path / "again"), "--format", "sdb", "--by_size"]]
    assert run(*pack) == 0 and "4 clips, 0.000 GB" in capsys.readouterr().out
    assert [row.transcript for row in read_rows(tmp_path / "again/train.sdb")] == ["café", "a b c d", "b a", "c"]


def test_a_database_without_transcripts_is_a_source_of_noise(train, tmp_path):
    out = tmp_path / "noise"
    assert run("data pack", [str(train), "--output", str(out), "--format", "sdb", "--unlabeled"]) == 0
    data = (out / "train.sdb").read_bytes()
    clips = [data[s.offset : s.offset + s.size] for s in read_samples(out / "train.sdb")]
    assert data == layout(clips, None, b"audio/wav")
    source, before = AudioSource(str(out / "train.sdb"), sample_rate=16000), AudioSource(str(train), sample_rate=16000)
    assert len(source) == 4 and source.fingerprint() != before.fingerprint()
    np.testing.assert_array_equal(source.read(1), before.read(1))


def test_opus_in_deepspeechs_form_is_written_and_read(train, tmp_path):
    out = tmp_path / "opus"
    assert run("data pack", [str(train), "--output", str(out), "--format", "sdb_opus"]) == 0
    data = (out / "train.sdb").read_bytes()
    clips = [data[s.offset : s.offset + s.size] for s in read_samples(out / "train.sdb")]
    assert data == layout(clips, TEXTS, b"application/vnd.mozilla.opus")
    lengths = [read_audio_info(path).num_frames for path in clips_of(out / "train.sdb")]
    assert lengths[:3] == [8000, 4000, 8200]
    head = (2 * 8000).to_bytes(4, "big") + (16000).to_bytes(4, "big") + b"\1\2"
    assert clips[0].startswith(head) and clips[0][10] << 8 | clips[0][11] < len(clips[0])
    assert run("data pack", [str(out / "train.sdb"), "--output", str(tmp_path / "tar")]) == 0
    (_, tar_clip, *_) = clips_of(tmp_path / "tar/train.csv")
    assert tar_clip.endswith(".opus")
    np.testing.assert_array_equal(
        read_audio(tar_clip, sample_rate=16000), read_audio(clips_of(out / "train.sdb")[1], sample_rate=16000)
    )


def test_opus_that_is_damaged_is_refused_and_a_tone_comes_back():
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, tone, 48000, format="OGG", subtype="OPUS")
    packets = opus_packets.of_ogg(file.getvalue(), num_frames=48000, sample_rate=48000)
    found, rate = soundfile.read(io.BytesIO(opus_packets.to_ogg(packets)), dtype="float32")
    assert rate == 48000 and len(found) == 48000
    delay = 312  # of the encoder
    assert np.abs(found[delay + 2000 : 40000] - tone[2000 : 40000 - delay]).max() < 0.05
    for data, said in (
        (packets[:5], "is cut: 5 bytes"),
        (packets[:200], "damaged or cut: a packet"),
        (packets[:-2000], "cut"),
        (b"\0" * 30, "0 Hz, 0 channels"),
        (packets[:10] + b"\0\0" + packets[10:], "a packet of 0 bytes"),
        (packets[:10] + b"\0\1\3" + packets[10:], "without its number of frames"),
    ):
        with pytest.raises(AudioError, match=said):
            opus_packets.to_ogg(data)


def test_a_set_is_checked_and_planned_as_that_of_its_csv(train, sdb):
    def loaded(path: Path):
        rules = {"alphabet": Alphabet(" abcdefé"), "geometry": FeatureGeometry(), "alphabet_name": "letters"}
        found = check_sets({"train": [str(path)]}, **rules, on_bad_row="fail", cache_dir=None, console=Console())
        return found.sets["train"][0].samples

    files, database = loaded(train), loaded(sdb)
    rules = BatchRules(batch_size=2, seed=3)
    for epoch in range(3):
        assert Plan(database, rules).batches(epoch) == Plan(files, rules).batches(epoch)
    for one, other in zip(database, files, strict=True):
        assert (one.labels, one.cost, one.row) == (other.labels, other.cost, other.row)


def test_a_folder_of_databases_and_bad_clips_are_told(train, sdb, tmp_path, capsys):
    (tmp_path / "1.wav").write_bytes(b"no audio")
    again = ["data pack", [str(train), "--output", str(sdb.parent), "--format", "sdb"]]
    before = sdb.read_bytes()
    assert run(*again) == 1 and sdb.read_bytes() == before and len(os.listdir(sdb.parent)) == 1
    assert "train.csv, row 3: not audio" in capsys.readouterr().err
    again[1] += ["--on_bad_row", "drop"]
    assert run(*again) == 0 and len(list(read_samples(sdb))) == 3
    assert run("data stats", [str(sdb.parent)]) == 0 and "3 clips" in capsys.readouterr().out
    (tmp_path / "letters.txt").write_text(" \na\nb\nc\nd\né\nf\n", encoding="utf-8")
    letters = ["--alphabet_config_path", str(tmp_path / "letters.txt"), "--checkpoint_dir", str(tmp_path / "none")]
    assert run("data check", ["--train_files", str(sdb), *letters]) == 0
    assert "3 rows can be used, 0 cannot" in capsys.readouterr().out
    for flags, said in (
        (["--format", "sdb", "--shard_size", "1GB"], "--shard_size: not with --format sdb"),
        (["--format", "flac", "--by_size"], "--by_size: only with --format sdb"),
        (["--format", "sdb_opus", "--sample_rate", "44100"], "44100: Opus has"),
    ):
        assert run("data pack", [str(train), "--output", str(sdb.parent), *flags]) == 2
        assert said in capsys.readouterr().err
    assert run("data pack", [str(sdb), "--output", str(sdb.parent), "--format", "sdb"]) == 2
    assert "would be replaced" in capsys.readouterr().err


def test_a_database_is_not_trusted(sdb):
    whole = sdb.read_bytes()
    at = 16 + int.from_bytes(whole[8:16], "big")

    def fault(data: bytes) -> str:
        sdb.write_bytes(data)
        with pytest.raises(UserError) as error:
            list(read_samples(sdb))
        assert str(error.value).startswith(f"{sdb}: ")
        return str(error.value)

    assert "does not begin with SAMPLEDB" in fault(b"RIFF" + whole[4:])
    assert "is cut" in fault(whole[: at + 4])
    assert "a schema of" in fault(whole[:8] + b"\xff" * 8 + whole[16:])
    assert "schema cannot be read" in fault(whole[:16] + b"x" * (at - 16) + whole[at:])
    assert "no speech of a kind" in fault(whole.replace(b"audio/wav", b"audio/mp3"))
    assert "cut" in fault(whole[:-1]) and "cut" in fault(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
    index = len(whole) - 8 * 5
    assert "promises" in fault(whole[:index] + b"\xff" * 8 + whole[index + 8 :])


def test_a_sample_that_is_damaged_is_a_row_with_a_fault(sdb):
    whole = sdb.read_bytes()
    first = next(read_samples(sdb))
    sdb.write_bytes(whole[:-32] + (len(whole) - 2).to_bytes(8, "big") + whole[-24:])  # where the first one lies
    rows = read_rows(sdb)
    assert "lies outside the file" in rows[0].fault and [row.fault for row in rows[1:]] == [None] * 3
    length = first.offset - 4
    sdb.write_bytes(whole[:length] + b"\xff" * 4 + whole[length + 4 :])
    assert "the file ends before" in read_rows(sdb)[0].fault
    text = first.offset + first.size + 4
    sdb.write_bytes(whole[:text] + b"\xff" + whole[text + 1 :])
    assert "byte 0xff of its transcript is not UTF-8" in read_rows(sdb)[0].fault
    sdb.write_bytes(whole)
    with pytest.raises(AudioError, match="no file of this size begins there"):
        read_audio(f"{sdb}#{first.offset}+{first.size - 1}.wav", sample_rate=16000)


@pytest.mark.slow
def test_a_run_from_a_database_ends_as_one_from_files(tmp_path):
    from training.processes import differing_arrays, make_corpus, transcripts
    from training.processes import run as run_program

    train = make_corpus(tmp_path / "corpus", transcripts(8), name="train.csv")
    assert run("data pack", [str(train), "--output", str(tmp_path / "packed"), "--format", "sdb"]) == 0
    for name, path in (("files", train), ("database", tmp_path / "packed/train.sdb")):
        files = ["--train_files", path, "--dev_files", path, "--checkpoint_dir", tmp_path / name]
        net = ["--n_hidden", 16, "--train_batch_size", 2, "--epochs", 2, "--dropout_rate", 0]  # which draws by names
        assert run_program(*files, *net, "--intra_op_parallelism_threads", 1).code == 0
    assert differing_arrays(tmp_path / "files", tmp_path / "database") == []
