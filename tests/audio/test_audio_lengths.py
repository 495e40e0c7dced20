"""The length of a recording: what is read is what was written, or the file is refused; whatever its header says."""

import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import recordings
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recordings import chunk, encoded, id3, mp3, noise, ogg_pages, tone, wav, without_xing

from deepspeech_training.audio.files import AudioError, AudioFile, read_audio, read_audio_info


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples of a property."""
    return tmp_path_factory.mktemp("lengths")


def frames_of(path, data: bytes | None = None) -> int | None:
    """The length by the header check, which must be the length that is read; None where both refuse the file."""
    if data is not None:
        path.write_bytes(data)
    try:
        info = read_audio_info(str(path))
    except AudioError as error:
        assert error.reason
        with pytest.raises(AudioError):
            read_audio(str(path), sample_rate=16000)
        return None
    with AudioFile(str(path)) as audio:
        assert len(audio.read(sample_rate=info.sample_rate)) == info.num_frames
    return info.num_frames


def reason_of(path, data: bytes | None = None) -> str:
    """Why a file is refused, by the check and by the reading alike."""
    if data is not None:
        path.write_bytes(data)
    reasons = []
    for read in (read_audio_info, lambda path: read_audio(path, sample_rate=16000)):
        with pytest.raises(AudioError) as caught:
            read(str(path))
        reasons.append(caught.value.reason)
    assert reasons[0] == reasons[1]
    return reasons[0]


# --- WAV -------------------------------------------------------------------------------------------------------------

PIPED = (0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB)


@pytest.mark.parametrize("encoding", recordings.ENCODINGS)
@pytest.mark.parametrize("extensible", [False, True])
def test_every_kind_of_samples_is_counted_and_read(folder, encoding, extensible):
    for channels in (1, 2):
        data = wav(1001, encoding=encoding, channels=channels, extensible=extensible)
        assert frames_of(folder / "a.wav", data) == 1001


@pytest.mark.parametrize("size", PIPED)
@pytest.mark.parametrize("encoding", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_size_that_a_program_in_a_pipe_could_not_know_is_counted(folder, size, encoding):
    assert frames_of(folder / "a.wav", wav(1001, encoding=encoding, data_size=size, riff_size=size)) == 1001


def test_a_size_field_that_is_too_small_hides_no_sound(folder):
    for size in (2, 100, 1000):
        assert "size field is wrong" in reason_of(folder / "a.wav", wav(1001, data_size=size))
        data = wav(1001, data_size=size, riff_size=36 + size)
        assert "size field is wrong" in reason_of(folder / "a.wav", data)


def test_sound_behind_large_and_odd_chunks_is_found(folder):
    large = chunk(b"JUNK", bytes(3_000_001))
    odd = chunk(b"LIST", b"INFOx", padded=False)
    after = chunk(b"LIST", b"INFO" + bytes(300))
    for before in (large, odd, large + odd):
        for encoding in ("PCM_16", "PCM_24"):
            assert frames_of(folder / "a.wav", wav(500, before=before, after=after, encoding=encoding)) == 500
    assert reason_of(folder / "a.wav", wav(500, before=chunk(b"JUNK", b"", size=1 << 30))).startswith("its header")


def test_chunks_and_tags_after_the_sound_are_no_sound(folder):
    for after in (chunk(b"LIST", b"INFO"), b"TAG" + bytes(125), bytes(100), b"\r\n", chunk(b"LIST", b"x", size=999)):
        assert frames_of(folder / "a.wav", wav(500, after=after)) == 500
    assert "size field is wrong" in reason_of(folder / "a.wav", wav(500, after=chunk(b"data", noise(50).tobytes())))


def test_joined_wavs_are_read_to_their_end(folder):
    for encoding in ("PCM_16", "PCM_24"):
        assert frames_of(folder / "a.wav", wav(500, encoding=encoding) + wav(700, encoding=encoding)) == 1200
    assert "do not fit together" in reason_of(folder / "a.wav", wav(500) + wav(500, rate=8000))


@pytest.mark.parametrize("encoding", ["PCM_16", "PCM_24"])
def test_a_recording_of_more_than_4_gb_has_its_size_modulo_that(folder, encoding):
    path = folder / "long.wav"
    header = wav(0, encoding=encoding, channels=2, rate=96000, riff_size=12345)
    frame = {"PCM_16": 4, "PCM_24": 6}[encoding]
    num_frames = (5 << 30) // frame
    num_bytes = num_frames * frame
    path.write_bytes(header[:-4] + struct.pack("<I", num_bytes % (1 << 32)) + b"\x01" * 5000)
    os.truncate(path, len(header) + num_bytes)  # the rest takes no space on the disk
    try:
        info = read_audio_info(str(path))
        assert (info.num_frames, info.sample_rate, info.channels) == (num_frames, 96000, 2)
        with AudioFile(str(path)) as audio:
            assert len(audio.read(sample_rate=96000, start=num_frames - 100)) == 100
    finally:
        path.unlink()


def test_rf64_is_read_by_its_64_bit_sizes(folder):
    soundfile.write(folder / "a.rf64", noise(1000), 16000, "PCM_16", format="RF64")
    assert frames_of(folder / "a.rf64") == 1000
    data = (folder / "a.rf64").read_bytes()
    assert "cut" in reason_of(folder / "a.rf64", data[:-500])


@pytest.mark.parametrize("encoding", ["PCM_16", "PCM_24", "FLOAT", "ALAW"])
@pytest.mark.parametrize("lost", [1, 2, 7, 30, 43, 44, 100, 900])
def test_a_cut_wav_is_called_cut_however_little_is_missing(folder, encoding, lost):
    assert "cut" in reason_of(folder / "a.wav", wav(1000, encoding=encoding)[:-lost])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    num_frames=st.integers(1, 3000),
    channels=st.integers(1, 3),
    encoding=st.sampled_from(sorted(recordings.ENCODINGS)),
    extensible=st.booleans(),
    data_size=st.one_of(st.none(), st.sampled_from(PIPED), st.integers(0, 0xFFFFFFFF), st.integers(0, 20000)),
    riff_size=st.one_of(st.none(), st.sampled_from(PIPED), st.integers(0, 0xFFFFFFFF), st.integers(0, 20000)),
    before=st.sampled_from([b"", chunk(b"LIST", b"INFOx"), chunk(b"bext", bytes(700)), chunk(b"fact", b"\1\0\0\0")]),
    after=st.sampled_from([b"", chunk(b"LIST", b"INFOxy"), chunk(b"id3 ", b"ID3xyz")]),
    lost=st.one_of(st.just(0), st.integers(1, 50)),
)
def test_a_wav_with_wrong_sizes_has_its_true_length_or_is_refused(
    folder, num_frames, channels, encoding, extensible, data_size, riff_size, before, after, lost
):
    _, bits, _ = recordings.ENCODINGS[encoding]
    frame = channels * bits // 8
    if data_size is not None and (data_size in PIPED or data_size > num_frames * frame):
        after = b""  # which of what follows would be sound nobody can tell
    data = wav(
        num_frames,
        encoding=encoding,
        channels=channels,
        extensible=extensible,
        before=before,
        after=after,
        data_size=data_size,
        riff_size=riff_size,
    )
    found = frames_of(folder / "a.wav", data[: len(data) - lost])
    lost_sound = max(0, lost - len(after) - num_frames * frame % 2)
    truth = (num_frames * frame - lost_sound) // frame
    if data_size is None and riff_size is None and not lost_sound and len(after) in (0, len(after) - lost):
        assert found == num_frames
    if lost_sound and data_size is None:
        assert found is None
    padding = num_frames * frame % 2  # of sound with a byte for each sample, it may be taken for one more
    assert found in (None, truth) or (data_size is not None and found == truth + padding)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 43), value=st.integers(0, 255), encoding=st.sampled_from(["PCM_16", "PCM_24", "FLOAT", "ALAW"])
)
def test_a_wrong_byte_in_a_header_never_makes_a_wrong_length(folder, at, value, encoding):
    data = bytearray(wav(1000, encoding=encoding, channels=2))
    data[at] = value
    assert frames_of(folder / "a.wav", bytes(data)) in (None, 1000)


# --- MP3 -------------------------------------------------------------------------------------------------------------


def test_an_mp3_has_the_length_that_was_written(folder):
    whole = mp3(1.5, bitrate_mode="VARIABLE")
    path = folder / "a.mp3"
    assert frames_of(path, whole) == 24000
    # What encoder and decoder add, about 1100 samples, is not known without the Xing header.
    assert 24000 <= frames_of(path, without_xing(whole)) <= 24000 + 3 * 576
    assert frames_of(path, whole + whole) == 48000
    assert frames_of(path, id3(5_000_001) + whole + b"TAG" + bytes(125)) == 24000
    assert frames_of(path, id3(999) + without_xing(whole) + id3(99) + whole) > 48000


def test_a_quiet_start_does_not_make_an_mp3_longer(folder):
    audio = np.concatenate([np.zeros(8000), tone(1.0)])
    data = without_xing(encoded(audio, format="MP3", bitrate_mode="VARIABLE"))
    assert 24000 <= frames_of(folder / "a.mp3", data) <= 24000 + 3 * 576


def test_a_cut_mp3_is_called_cut_with_what_is_there_and_what_was_promised(folder):
    whole = mp3(3.0, bitrate_mode="CONSTANT")
    frames = recordings.mp3_frames(whole)
    path = folder / "a.mp3"
    for size in (len(whole) // 2, len(whole) - 1, len(whole) - len(frames[-1]) - 2, len(frames[0]) + 10):
        assert "cut" in reason_of(path, whole[:size])
    assert "promises 3.1" in reason_of(path, whole[: len(whole) // 2])
    assert "cut" in reason_of(path, b"".join(frames[:-3]))  # between two frames
    assert "cut" in reason_of(path, b"".join(frames[:40]) + whole)  # the first of two
    assert "cut" in reason_of(path, without_xing(whole)[:-5])


def test_bytes_between_the_frames_of_an_mp3_are_damage(folder):
    frames = recordings.mp3_frames(mp3(1.0))
    path = folder / "a.mp3"
    for rubbish in (bytes(600), b"\x12\x34" * 300):
        assert "damaged" in reason_of(path, b"".join([*frames[:9], rubbish, *frames[9:]]))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.floats(0.3, 1.5),
    joined=st.integers(1, 3),
    mode=st.sampled_from(["CONSTANT", "VARIABLE"]),
    level=st.floats(0, 0.9),
    xing=st.booleans(),
    tag_bytes=st.sampled_from([0, 10, 4096, 70000]),
    lost=st.one_of(st.just(0), st.integers(1, 3000)),
    frames_field=st.one_of(st.none(), st.integers(0, 200), st.just(0xFFFFFFFF)),
)
def test_an_mp3_has_its_true_length_or_is_refused(
    folder, seconds, joined, mode, level, xing, tag_bytes, lost, frames_field
):
    one = mp3(seconds, bitrate_mode=mode, compression_level=level)
    num_frames = len(tone(seconds))
    whole = one if xing else without_xing(one)
    xing = b"Xing" in whole[:64] or b"Info" in whole[:64]  # libsndfile writes it for variable bit rates alone
    if xing and frames_field is not None:
        mark = max(whole.find(b"Xing", 0, 64), whole.find(b"Info", 0, 64))
        whole = whole[: mark + 8] + struct.pack(">I", frames_field) + whole[mark + 12 :]
    data = (id3(tag_bytes) if tag_bytes else b"") + whole * joined
    found = frames_of(folder / "a.mp3", data[: len(data) - lost])
    if lost == 0 and (frames_field is None or not xing):
        assert found is not None
    slack = 0 if xing and frames_field is None else joined * 3 * 576
    if lost and found is not None:  # only whole frames are missing, and nothing says so
        assert not (xing and frames_field is None)
        assert found <= joined * (num_frames + slack)
    else:
        assert found is None or joined * num_frames <= found <= joined * num_frames + slack


# --- Ogg -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_is_read_to_the_end_of_its_last_recording(folder, subtype):
    one = encoded(tone(1.0), format="OGG", subtype=subtype)
    two = encoded(tone(1.5), format="OGG", subtype=subtype)
    assert frames_of(folder / "a.ogg", one) == 16000
    assert frames_of(folder / "a.ogg", one + two + one) == 56000
    other_rate = encoded(tone(1.0, 24000), 24000, format="OGG", subtype=subtype)
    assert "do not fit together" in reason_of(folder / "a.ogg", one + other_rate)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_cut_ogg_is_called_cut(folder, subtype):
    whole = encoded(tone(3.0), format="OGG", subtype=subtype)
    pages = ogg_pages(whole)
    path = folder / "a.ogg"
    for size in (len(whole) // 2, len(whole) - 1, len(whole) - len(pages[-1]), len(pages[0]) + 30, len(pages[0]) + 2):
        assert "cut" in reason_of(path, whole[:size])
    assert "cut" in reason_of(path, whole[: len(whole) // 2] + whole) or "damaged" in reason_of(path)
    assert "cut" in reason_of(path, b"".join(pages[:-1]) + whole)
    if len(pages) > 4:
        assert "pages are missing" in reason_of(path, b"".join(pages[:3] + pages[4:]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.lists(st.floats(0.1, 1.5), min_size=1, max_size=3),
    subtype=st.sampled_from(["VORBIS", "OPUS"]),
    lost=st.one_of(st.just(0), st.integers(1, 5000)),
    flip=st.one_of(st.none(), st.tuples(st.integers(0, 26), st.integers(0, 255))),
)
def test_an_ogg_has_its_true_length_or_is_refused(folder, seconds, subtype, lost, flip):
    parts = [encoded(tone(second), format="OGG", subtype=subtype) for second in seconds]
    data = b"".join(parts)
    data = bytearray(data[: max(1, len(data) - lost)])
    if flip is not None and flip[0] < len(data):
        data[flip[0]] = flip[1]
    truth = sum(len(tone(second)) for second in seconds)
    try:
        found = frames_of(folder / "a.ogg", bytes(data))
    except AudioError:
        found = None  # what is damaged may show only when it is decoded
    if lost == 0 and flip is None:
        assert found == truth
    if lost in np.cumsum([len(part) for part in parts[::-1]]):  # a recording that was appended is missing as a whole
        return
    assert found in (None, truth)


# --- FLAC ------------------------------------------------------------------------------------------------------------


def flac(audio, *, length: int | None = None) -> bytes:
    data = encoded(audio, format="FLAC", subtype="PCM_16")
    if length is not None:  # the low 4 bits of byte 21 and the next 4 bytes are the number of samples in STREAMINFO
        data = data[:21] + bytes([data[21] & 0xF0 | length >> 32]) + struct.pack(">I", length & 0xFFFFFFFF) + data[26:]
    return data


@pytest.mark.parametrize("seconds", [0.05, 1.0, 30.0])
def test_a_flac_has_the_length_of_its_last_frame(folder, seconds):
    audio = noise(round(16000 * seconds))
    path = folder / "a.flac"
    assert frames_of(path, flac(audio)) == len(audio)
    assert frames_of(path, flac(audio, length=0)) == len(audio)  # written into a pipe
    assert frames_of(path, flac(audio, length=len(audio) // 2)) == len(audio)
    assert frames_of(path, id3(5000) + flac(audio) + b"TAG" + bytes(125)) == len(audio)
    assert "cut" in reason_of(path, flac(audio, length=2 * len(audio)))
    assert "several" in reason_of(path, flac(audio) + flac(audio))


@pytest.mark.parametrize("lost", [1, 2, 100, 9000, 20000])
@pytest.mark.parametrize("length", [None, 0])
def test_a_cut_flac_is_called_cut_by_the_check_too(folder, lost, length):
    assert "cut" in reason_of(folder / "a.flac", flac(noise(32000), length=length)[:-lost])


# --- other containers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["AIFF", "CAF", "W64", "AU", "NIST", "SVX", "VOC"])
def test_other_containers_are_read_whole_or_called_cut(folder, container):
    data = encoded(noise(1000), format=container, subtype="PCM_16")
    path = folder / f"a.{container.lower()}"
    assert frames_of(path, data) == 1000
    for lost in (2, 100, 1500):
        size = len(data) - lost
        if container == "CAF":  # libsndfile puts padding before the sound
            size = data.find(b"data") + 2000 - lost
        assert "cut" in reason_of(path, data[:size]), lost


@pytest.mark.parametrize(
    ("container", "mark", "packed"),
    [("AIFF", b"SSND", ">I"), ("CAF", b"data", ">q"), ("W64", b"data", "<Q"), ("AU", b".snd", ">I")],
)
def test_a_wrong_size_in_another_container_is_never_a_wrong_length(folder, container, mark, packed):
    data = encoded(noise(1000), format=container, subtype="PCM_16")
    at = data.find(mark) + {"AIFF": 4, "CAF": 4, "W64": 16, "AU": 8}[container]
    for size in (0, 8, 100, 1000, 1998, 2002, 5000, 0x7FFFFFFF, 0xFFFFFFFF):
        wrong = bytearray(data)
        struct.pack_into(packed, wrong, at, size)
        assert frames_of(folder / f"a.{container.lower()}", bytes(wrong)) in (None, 1000), size


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_16", "NMS_ADPCM_32"])
def test_codecs_that_cannot_seek_are_counted_and_read(folder, subtype):
    data = encoded(tone(2.0, 8000), 8000, format="WAV", subtype=subtype)
    path = folder / "call.wav"
    found = frames_of(path, data)
    assert 16000 <= found <= 16000 + 1100  # the last block is filled up
    assert "cut" in reason_of(path, data[: len(data) // 2])
    with AudioFile(str(path)) if path.write_bytes(data) else None as audio:
        whole = audio.read(sample_rate=8000)
        np.testing.assert_array_equal(audio.read(sample_rate=8000, start=5000, stop=6000), whole[5000:6000])


def test_an_instrument_of_fasttracker_is_read_too(folder):
    assert frames_of(folder / "a.xi", encoded(tone(1.0, 44100), 44100, format="XI", subtype="DPCM_16")) == 44100


# --- other programs --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(("end", "codec"), [("m4a", "aac"), ("webm", "libopus"), ("wma", "wmav2"), ("mka", "flac")])
@pytest.mark.parametrize("with_pyav", [True, False])
def test_pyav_or_ffmpeg_decodes_what_libsndfile_does_not_know(folder, end, codec, with_pyav, monkeypatch):
    if not with_pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    soundfile.write(folder / "source.wav", tone(3.0), 16000)
    path = folder / f"a.{end}"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-i",
        folder / "source.wav",
        "-c:a",
        codec,
        "-movflags",
        "faststart",
        path,
    ]
    subprocess.run(command, check=True)
    info = read_audio_info(str(path))
    assert abs(info.duration_s - 3.0) < 0.15
    assert frames_of(path) == info.num_frames
    assert "cut" in reason_of(path, path.read_bytes()[: path.stat().st_size * 2 // 3])
    path.rename(folder / "named.wav")  # it is the first bytes that count
    assert "cut" in reason_of(folder / "named.wav")


def test_without_what_decodes_it_its_name_is_told(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", str(folder))
    assert "needs the package av, which is not installed: pip install" in reason_of(
        folder / "a.m4a", b"\0\0\0\x20ftypM4A " + bytes(99)
    )
    assert "needs the program sox" in reason_of(folder / "a.cvs", bytes(330))


# --- what is no audio ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title>", "an HTML page"),
        (b"\xef\xbb\xbf  <html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'{"error": "not found"}', "a JSON document"),
        (b"PK\x03\x04" + bytes(50), "an archive"),
        (b"%PDF-1.7", "a PDF document"),
        ("Ceci n’est pas un son.\n".encode() * 9, "text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"MThd\0\0\0\6", "MIDI"),
    ],
)
@pytest.mark.parametrize("end", ["mp3", "wav", "ogg", "m4a", "flac"])
def test_what_is_no_audio_is_called_what_it_is(folder, content, named, end, capfd):
    assert named in reason_of(folder / f"a.{end}", content)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["WAV", "MP3", "OGG", "FLAC", "AIFF", "CAF", "W64", "AU", "NIST", "VOC"]),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 5000),
)
@example("NIST", [(20, 255)], 0)
def test_whatever_bytes_are_wrong_it_is_an_audio_error_or_a_length(folder, container, flips, lost):
    data = bytearray(encoded(tone(0.3), format=container))
    for at, value in flips:
        data[at % len(data)] = value
    path = folder / f"b.{container.lower()}"
    path.write_bytes(data[: max(1, len(data) - lost)])
    try:
        info = read_audio_info(str(path))
        with AudioFile(str(path)) as audio:
            assert len(audio.read(sample_rate=info.sample_rate)) == info.num_frames
    except AudioError as error:
        assert error.reason and "Traceback" not in error.reason


def test_the_notes_of_the_mp3_decoder_stay_away(folder, capfd):
    frames_of(folder / "a.mp3", encoded(noise(20000), format="MP3"))
    frames_of(folder / "b.bin", b"\xff" * 3000)
    assert capfd.readouterr() == ("", "")
