"""Features and network in numpy: what an exported model is compared with, and what can run where TensorFlow is not.

The deployed clients see one frame more than the trainer: what is left of the audio after the last whole window, filled
up with zeros. `client_features` has it too.
"""

from collections.abc import Callable, Mapping

import numpy as np

from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOG_FLOOR, dct_matrix, fft_length, hann_window, mel_filterbank
from deepspeech_training.models.deepspeech.geometry import LAYER_NORM_EPSILON, NetworkGeometry

State = tuple[np.ndarray, np.ndarray]  # c and h of the LSTM, float32 [1, n_hidden] each


def mfcc(audio: np.ndarray, geometry: FeatureGeometry) -> np.ndarray:
    """The features of one clip: those of features.py, computed in float64.

    Args:
        audio: float32 [samples], -1..1.
        geometry: sample rate, window and step.
    Returns:
        float32 [frames, n_mfcc]; no frame for a clip that is shorter than a window.
    """
    window, step = geometry.window_samples, geometry.step_samples
    if len(audio) < window:
        return np.zeros((0, geometry.n_mfcc), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, window)[::step].astype(np.float64)
    num_bins = fft_length(window) // 2 + 1
    magnitude = np.abs(np.fft.rfft(frames * hann_window(window), fft_length(window)))
    bands = magnitude @ mel_filterbank(num_bins, sample_rate=geometry.sample_rate).astype(np.float64)
    return (np.log(np.maximum(bands, LOG_FLOOR)) @ dct_matrix(geometry.n_mfcc)).astype(np.float32)


def client_windows(audio: np.ndarray, geometry: FeatureGeometry) -> np.ndarray:
    """The windows of samples that a client computes features of: the whole ones, and the rest filled up with zeros.

    Returns:
        float32 [num_frames + 1, window_samples].

    >>> client_windows(np.ones(16000, np.float32), FeatureGeometry()).shape
    (50, 512)
    """
    window, step = geometry.window_samples, geometry.step_samples
    num_windows = geometry.num_frames(len(audio)) + 1
    padded = np.zeros(max((num_windows - 1) * step + window, len(audio)), np.float32)
    padded[: len(audio)] = audio
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::step][:num_windows]


def client_features(audio: np.ndarray, geometry: FeatureGeometry) -> np.ndarray:
    """The features that a client computes of a clip: float32 [num_frames + 1, n_mfcc]."""
    windows = client_windows(audio, geometry)
    padded = np.zeros((len(windows) - 1) * geometry.step_samples + geometry.window_samples, np.float32)
    kept = min(len(audio), len(padded))
    padded[:kept] = audio[:kept]
    return mfcc(padded, geometry)


def stack_context(features: np.ndarray, *, n_context: int) -> np.ndarray:
    """Give every frame its neighbours, as the first dense layer expects; frames outside the clip are zeros.

    Args:
        features: float32 [frames, depth].
        n_context: frames taken on either side.
    Returns:
        float32 [frames, 2 * n_context + 1, depth], the oldest frame first.

    >>> stack_context(np.ones((5, 26), np.float32), n_context=9).shape
    (5, 19, 26)
    """
    padded = np.pad(features, [(n_context, n_context), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * n_context + 1, axis=0)  # [frames, depth, window]
    return np.ascontiguousarray(windows.transpose(0, 2, 1))


def forward(
    weights: Mapping[str, np.ndarray],
    windows: np.ndarray,
    network: NetworkGeometry,
    state: State | None = None,
    *,
    observe: Callable[[str, np.ndarray], None] = lambda name, values: None,
) -> tuple[np.ndarray, State]:
    """Compute the network in float32.

    Args:
        weights: by canonical name.
        windows: float32 [frames, 2 * n_context + 1, n_features] from `stack_context`, all of them or the next ones.
        network: shapes and clipping.
        state: where the LSTM was after the windows before; None at the start.
        observe: is called with each dense layer's name and its outputs [frames, n_hidden], clipped and not yet
            normalised, and with "lstm" and the gates i, f and o of a frame [3, n_hidden].
    Returns:
        logits float32 [frames, num_classes], and the state after them.
    """

    def dense(name: str, inputs: np.ndarray) -> np.ndarray:
        outputs = inputs @ weights[f"{name}/weights"] + weights[f"{name}/bias"]
        outputs = np.minimum(np.maximum(outputs, 0), np.float32(network.relu_clip))
        observe(name, outputs)
        if network.layer_norm:
            mean, variance = outputs.mean(-1, keepdims=True), outputs.var(-1, keepdims=True)
            outputs = (outputs - mean) / np.sqrt(variance + np.float32(LAYER_NORM_EPSILON))
            outputs = outputs * weights[f"{name}/layer_norm/gamma"] + weights[f"{name}/layer_norm/beta"]
        return outputs

    n = network.n_hidden
    tensor = windows.reshape(len(windows), -1)
    for name in ("layer_1", "layer_2", "layer_3"):
        tensor = dense(name, tensor)
    kernel, bias = weights["lstm/kernel"], weights["lstm/bias"]
    from_inputs = tensor @ kernel[:n] + bias  # [frames, 4 * n], all frames at once
    c, h = state if state is not None else (np.zeros((1, n), np.float32), np.zeros((1, n), np.float32))
    outputs = np.zeros((len(windows), n), np.float32)
    for frame in range(len(windows)):
        gate_i, candidate, gate_f, gate_o = np.split(from_inputs[frame : frame + 1] + h @ kernel[n:], 4, axis=1)
        gates = _sigmoid(np.concatenate([gate_i, gate_f, gate_o]))
        observe("lstm", gates)
        c = gates[1:2] * c + gates[0:1] * np.tanh(candidate)
        h = gates[2:3] * np.tanh(c)
        outputs[frame] = h[0]
    return dense("layer_5", outputs) @ weights["layer_6/weights"] + weights["layer_6/bias"], (c, h)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits [frames, classes]."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)  # never overflows
