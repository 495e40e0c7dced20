"""How DeepSpeech 0.9.3's TensorFlow 1 checkpoints name the weights of the network, and what their shapes say of it.

Kernels have the same layout in both: y = x W + b; the LSTM's rows are input then state, its columns the gates i, j,
f, o.
"""

from collections.abc import Mapping

from deepspeech_training.models.deepspeech import DENSE_LAYERS, DeepSpeech

_LSTM = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"  # train_cudnn or not


def geometry_of(shapes: Mapping[str, tuple[int, ...]], *, n_features: int = 26) -> DeepSpeech:
    """The network that the variables of these shapes are of; only `relu_clip`, a flag, is not in them.

    Raises:
        ValueError: they are not those of a DeepSpeech model, or one has another shape than the others ask for.
    """
    try:
        rows, n_hidden = shapes["layer_1/weights"]
        (num_classes,) = shapes["layer_6/bias"]
    except (KeyError, ValueError):
        raise ValueError("layer_1/weights and layer_6/bias are not there: no DeepSpeech model") from None
    n_windows, remainder = divmod(rows, n_features)
    if remainder or n_windows % 2 == 0:
        raise ValueError(f"layer_1/weights has {rows} rows, which are no odd number of frames of {n_features}")
    network = DeepSpeech(
        num_classes=num_classes,
        n_hidden=n_hidden,
        n_features=n_features,
        n_context=(n_windows - 1) // 2,
        layer_norm="layer_1/LayerNorm/gamma" in shapes,
    )
    for name, shape in network.weight_shapes().items():
        theirs = tf1_name(name)
        if theirs not in shapes:
            raise ValueError(f"{theirs} is not there")
        if shapes[theirs] != shape:
            raise ValueError(f"{theirs} has shape {list(shapes[theirs])} instead of {list(shape)}")
    return network


def tf1_name(name: str) -> str:
    """The name of a weight in DeepSpeech's TensorFlow 1 graph.

    >>> tf1_name("layer_1/layer_norm/gamma"), tf1_name("lstm/bias") == f"{_LSTM}/bias"
    ('layer_1/LayerNorm/gamma', True)
    """
    layer = name.split("/", 1)[0]
    if layer in DENSE_LAYERS:
        return name.replace("/layer_norm/", "/LayerNorm/")
    return name.replace("lstm/", f"{_LSTM}/", 1) if layer == "lstm" else name
