"""What fixes the weights of the network: their names, shapes and meaning."""

from dataclasses import dataclass

DENSE_LAYERS = ("layer_1", "layer_2", "layer_3", "layer_5")  # layer_4 is the LSTM, layer_6 the logits
LAYER_NORM_EPSILON = 1e-12  # of tf.contrib.layers.layer_norm


@dataclass(frozen=True)
class NetworkGeometry:
    """What fixes the shapes of the weights, and what they mean."""

    num_classes: int
    n_hidden: int = 2048
    n_features: int = 26
    n_context: int = 9
    layer_norm: bool = False
    relu_clip: float = 20.0

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's canonical name and shape, in the order of the network."""
        n = self.n_hidden
        inputs = {"layer_1": (2 * self.n_context + 1) * self.n_features, "layer_2": n, "layer_3": n, "layer_5": n}
        shapes: dict[str, tuple[int, ...]] = {}
        for name in ("layer_1", "layer_2", "layer_3", "lstm", "layer_5"):
            if name == "lstm":
                shapes |= {"lstm/kernel": (2 * n, 4 * n), "lstm/bias": (4 * n,)}
                continue
            shapes |= {f"{name}/weights": (inputs[name], n), f"{name}/bias": (n,)}
            if self.layer_norm:
                shapes |= {f"{name}/layer_norm/gamma": (n,), f"{name}/layer_norm/beta": (n,)}
        return shapes | {"layer_6/weights": (n, self.num_classes), "layer_6/bias": (self.num_classes,)}
