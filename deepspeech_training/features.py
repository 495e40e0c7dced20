"""Waveforms -> MFCC, in keras.ops, on the accelerator inside the training step.

The one definition of the features. It follows TensorFlow's AudioSpectrogram and Mfcc operators
(tensorflow/core/kernels/spectrogram.cc, mfcc.cc, mfcc_mel_filterbank.cc, mfcc_dct.cc), which DeepSpeech trained with
and which the deployed clients run: periodic Hann window, power spectrum, square root before the mel sum, floor 1e-12
under the logarithm, DCT scale sqrt(2 / filters), no lifter, no normalisation.
"""

from keras import ops

from deepspeech_training.features_geometry import FeatureGeometry
from deepspeech_training.mel import LOG_FLOOR, dct_matrix, fft_length, hann_window, mel_filterbank


def mfcc(audio, num_samples, geometry: FeatureGeometry):
    """Compute the features of a batch of waveforms.

    Args:
        audio: float32 [batch, time], -1..1, zeros (or anything) past each clip's end.
        num_samples: int32 [batch], the true length of each clip.
        geometry: sample rate, window and step.
    Returns:
        features float32 [batch, frames, n_mfcc], exactly zero past each clip's last frame (the features of silence
        are not zeros: context windows of a padded clip would differ), and num_frames int32 [batch].
    """
    window, step = geometry.window_samples, geometry.step_samples
    audio = ops.pad(audio, [[0, 0], [0, window]])  # a batch shorter than one window still has a frame to cut
    frames = ops.extract_sequences(audio, window, step) * hann_window(window)
    real, imaginary = ops.rfft(frames, fft_length=fft_length(window))
    magnitude = ops.sqrt(ops.square(real) + ops.square(imaginary))
    bands = ops.matmul(magnitude, mel_filterbank(fft_length(window) // 2 + 1, sample_rate=geometry.sample_rate))
    features = ops.matmul(ops.log(ops.maximum(bands, LOG_FLOOR)), dct_matrix(geometry.n_mfcc))
    num_samples = ops.cast(num_samples, "int32")
    num_frames = ops.where(num_samples < window, 0, 1 + (num_samples - window) // step)
    longest = ops.maximum(ops.max(num_frames), 1)
    features = features[:, :longest]
    inside = ops.arange(longest)[None, :] < num_frames[:, None]
    return ops.where(inside[:, :, None], features, 0.0), num_frames
