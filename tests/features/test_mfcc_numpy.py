import numpy as np
import pytest
from keras import ops

from deepspeech_training.audio.files import read_audio
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_keras import mfcc
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame


def noise(num_samples, seed=0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_the_features_are_those_of_training(rate, dtype):
    geometry = FeatureGeometry(sample_rate=rate, win_len_ms=40, win_step_ms=20)
    audio = noise(rate // 2)
    wanted, num_frames = mfcc(audio[None], np.array([len(audio)], np.int32), geometry)
    in_numpy = Mfcc(geometry, dtype=dtype)
    found = in_numpy(audio)
    assert len(found) == int(num_frames[0]) and found.dtype == np.float32
    np.testing.assert_allclose(found, ops.convert_to_numpy(wanted)[0], atol=2e-4)
    assert in_numpy(audio[: geometry.window_samples - 1]).shape == (0, 26)


def test_the_clients_see_one_frame_more_filled_up_with_zeros(test_data):
    geometry = FeatureGeometry()
    audio = read_audio(str(test_data / "ldc93s1/LDC93S1.wav"), sample_rate=16000)
    in_numpy = Mfcc(geometry)
    found = in_numpy(with_last_frame(audio, geometry))
    np.testing.assert_allclose(found, np.load(test_data / "golden/tflite_client_mfcc.npy"), atol=1e-4)
    np.testing.assert_array_equal(found[:-1], in_numpy(audio))
    for length in (0, 1, 511, 512, 513, 831, 832):
        assert len(in_numpy(with_last_frame(noise(length), geometry))) == geometry.num_frames(length) + 1
