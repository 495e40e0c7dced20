import os
import struct

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.files import AudioError, num_samples_after_resampling, read_audio, read_audio_info

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000)
LENGTHS = (*range(1, 60), 159, 160, 161, 441, 999, 4096, 16001, 44101)


def similarity(first, second) -> float:
    """Pearson's correlation at the best shift of up to 20 ms at 16 kHz: codecs and resamplers may delay."""
    length = min(len(first), len(second)) - 320
    middle = first[160 : 160 + length]
    return max(np.corrcoef(middle, second[shift : shift + length])[0, 1] for shift in range(0, 320, 1))


@pytest.mark.parametrize("target_rate", [16000, 8000])
@pytest.mark.parametrize("source_rate", RATES)
def test_the_length_known_from_the_header_is_the_length_read(tmp_path, source_rate, target_rate):
    path = str(tmp_path / "a.wav")
    for num_frames in LENGTHS:
        soundfile.write(path, np.zeros(num_frames, np.int16), source_rate)
        info = read_audio_info(path)
        assert (info.num_frames, info.sample_rate, info.channels) == (num_frames, source_rate, 1)
        expected = num_samples_after_resampling(num_frames, source_rate, target_rate)
        assert len(read_audio(path, sample_rate=target_rate)) == expected


def test_16_bit_samples_are_scaled_exactly(tmp_path):
    path = str(tmp_path / "a.wav")
    values = np.arange(-32768, 32768, dtype=np.int16)
    soundfile.write(path, values, 16000)
    audio = read_audio(path, sample_rate=16000)
    assert audio.dtype == np.float32 and audio.flags.c_contiguous
    np.testing.assert_array_equal(audio, values.astype(np.float64) / 2**15)


def test_the_audio_is_what_deepspeech_decoded(test_data):
    golden = np.load(test_data / "golden" / "ldc93s1_audio_float.npy")[:, 0]
    np.testing.assert_array_equal(read_audio(str(test_data / "ldc93s1" / "LDC93S1.wav"), sample_rate=16000), golden)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("LDC93S1_pcms16le_1_16000.wav", 1.0),
        ("LDC93S1.flac", 1.0),
        ("LDC93S1_pcms16le_2_44100.wav", 0.99),
        ("LDC93S1.opus", 0.97),
        ("LDC93S1_pcms16le_1_8000.wav", 0.9),  # the upper half of the spectrum is gone
        ("LDC93S1.ogg", 0.9),  # 8 kHz as well
    ],
)
def test_every_format_of_one_clip_sounds_like_its_wav(test_data, name, least):
    reference = read_audio(str(test_data / "ldc93s1" / "LDC93S1.wav"), sample_rate=16000)
    path = str(test_data / "ldc93s1" / name)
    audio = read_audio(path, sample_rate=16000)
    info = read_audio_info(path)
    assert len(audio) == num_samples_after_resampling(info.num_frames, info.sample_rate, 16000)
    assert abs(len(audio) - len(reference)) <= 1
    if least == 1.0:
        np.testing.assert_array_equal(audio, reference)
    else:
        assert similarity(audio, reference) > least


def test_a_tone_keeps_its_pitch_and_level_when_resampled(tmp_path, make_wav):
    audio = read_audio(make_wav(tmp_path / "a.wav", 1.0, 44100, 1, "PCM_24"), sample_rate=16000)
    expected = 0.5 * np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)
    np.testing.assert_allclose(audio[500:-500], expected[500:-500], atol=1e-4)


def test_channels_are_averaged(tmp_path):
    path = str(tmp_path / "a.wav")
    left, right = np.array([8, -6, 100], np.int16), np.array([4, -2, -100], np.int16)
    soundfile.write(path, np.stack([left, right], axis=1), 16000)
    np.testing.assert_array_equal(read_audio(path, sample_rate=16000) * 2**15, [6, -4, 0])


@pytest.mark.parametrize(
    "pattern",
    ["ldc93s1/russian_sample_data/ru.wav", "fsdd/recordings/*_theo_1.wav", "commands/*/*_01.flac", "an4/wav/*/*/*.wav"],
)
def test_real_corpora_have_the_length_of_their_headers(test_data, pattern):
    paths = sorted(test_data.glob(pattern))
    assert paths
    for path in paths:
        info = read_audio_info(str(path))
        audio = read_audio(str(path), sample_rate=16000)
        assert len(audio) == num_samples_after_resampling(info.num_frames, info.sample_rate, 16000)
        assert 0.01 < np.abs(audio).max() <= 1.1


def test_the_length_of_an_mp3_is_known_before_it_is_decoded(test_data):
    paths = sorted(test_data.glob("commonvoice/**/*.mp3"))[::20]
    assert paths
    for path in paths:
        info = read_audio_info(str(path))
        expected = num_samples_after_resampling(info.num_frames, info.sample_rate, 16000)
        assert expected == len(read_audio(str(path), sample_rate=16000))


def write(path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def wav_bytes(tmp_path, make_wav) -> bytes:
    with open(make_wav(tmp_path / "whole.wav"), "rb") as file:
        data = file.read()
    assert data[36:40] == b"data" and len(data) == 44 + 32000
    return data


def test_faults_have_a_code_and_a_reason(tmp_path, wav_bytes):
    cases = {
        "missing_file": (str(tmp_path / "absent.wav"), "does not exist"),
        "file as folder": (write(tmp_path / "f", b"x") + "/a.wav", "does not exist"),
        "folder": (str(tmp_path), "not a regular file"),
        "0 bytes": (write(tmp_path / "0.wav", b""), "0 bytes"),
        "header only": (write(tmp_path / "h.wav", wav_bytes[:40] + bytes(4)), "holds no audio"),
        "noise": (write(tmp_path / "t.wav", b"\x93\xe1" * 99), "not audio that libsndfile can read"),
        "text": (write(tmp_path / "t.mp3", b"hello " * 99), "not audio but text"),
        "pointer": (write(tmp_path / "p.wav", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        "raw": (write(tmp_path / "r.raw", wav_bytes[44:]), "without a header"),
        "0 Hz": (write(tmp_path / "hz.wav", wav_bytes[:24] + bytes(4) + wav_bytes[28:]), "0 Hz"),
        "truncated": (write(tmp_path / "c.wav", wav_bytes[:16044]), "promises 1.00 s, the file holds 0.50 s"),
    }
    codes = {"missing_file": "missing_file", "file as folder": "missing_file"}
    codes |= dict.fromkeys(("0 bytes", "header only"), "empty_audio")
    for name, (path, reason) in cases.items():
        for read in (read_audio_info, lambda path: read_audio(path, sample_rate=16000)):
            with pytest.raises(AudioError, match=reason) as caught:
                read(path)
            assert caught.value.code == codes.get(name, "unreadable"), name


def test_more_than_a_day_is_absurd(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.zeros(86401, np.int16), 1)
    with pytest.raises(AudioError, match="claims 24 hours"):
        read_audio_info(path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 32044, 32008])
def test_a_wav_that_was_streamed_or_counts_its_header_is_whole(tmp_path, wav_bytes, size):
    path = write(tmp_path / "s.wav", wav_bytes[:40] + struct.pack("<I", size) + wav_bytes[44:])
    assert read_audio_info(path).num_frames == 16000
    assert len(read_audio(path, sample_rate=16000)) == 16000


def test_chunks_before_the_data_are_stepped_over(tmp_path, wav_bytes):
    odd_chunk = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    path = write(tmp_path / "l.wav", wav_bytes[:36] + odd_chunk + wav_bytes[36:20000])
    with pytest.raises(AudioError, match="truncated"):
        read_audio_info(path)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.array([0, np.nan, 1]), 16000, subtype="FLOAT")
    for read in (read_audio_info, lambda path: read_audio(path, sample_rate=16000)):
        with pytest.raises(AudioError, match="not finite"):
            read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_says_so(tmp_path, make_wav):
    path = make_wav(tmp_path / "a.wav")
    os.chmod(path, 0)
    with pytest.raises(AudioError, match="cannot open it: Permission denied"):
        read_audio_info(path)


def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        read_audio_info(str(tmp_path / "pipe.wav"))
