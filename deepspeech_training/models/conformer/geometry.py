"""What fixes the weights of the network: their names, shapes and meaning."""

from dataclasses import dataclass

PAIR = 2  # frames of features for each frame inside, which makes as many frames of outputs again
EXPANSION = 4  # width of the feed-forward modules' hidden layer, in d_model
LAYER_NORM_EPSILON = 1e-5
MASKED = -1e9  # what a score gets where attention must not look: its weight is then 0 in float32


@dataclass(frozen=True)
class ConformerGeometry:
    """What fixes the shapes of the weights, and what they mean.

    Args:
        d_model: width of all that goes from block to block.
        layers: number of blocks.
        heads: of the attention, which divide `d_model`; 0 leaves attention out.
        kernel: frames that the convolution takes, the present one the last; odd, as its cache lies in two halves.
        left_context: frames before the present one that attention looks at.
        n_features, n_context: of the inputs; all that is heard of the future are the `n_context` frames.
    """

    num_classes: int
    d_model: int = 176
    layers: int = 12
    heads: int = 4
    kernel: int = 15
    left_context: int = 64
    n_features: int = 40
    n_context: int = 9

    @property
    def n_inputs(self) -> int:
        """Numbers in a window of features."""
        return (2 * self.n_context + 1) * self.n_features

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks, in their order."""
        return tuple(f"block_{number}" for number in range(1, self.layers + 1))

    @property
    def state_size(self) -> int:
        """Numbers in each of the two vectors that a stream carries; see `conformer.tflite`."""
        attention = self.left_context if self.heads else 0
        return self.layers * (attention + self.kernel // 2) * self.d_model + attention

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's canonical name and shape, in the order of the network."""
        d = self.d_model
        shapes = {**_dense("input", self.n_inputs, d), **_layer_norm("input/layer_norm", d)}
        for block in self.blocks:
            shapes |= _feed_forward(f"{block}/ff_1", d)
            if self.heads:
                attention = f"{block}/attention"
                shapes |= _layer_norm(f"{attention}/layer_norm", d)
                shapes |= _dense(f"{attention}/qkv", d, 3 * d) | _dense(f"{attention}/output", d, d)
            convolution = f"{block}/convolution"
            shapes |= _layer_norm(f"{convolution}/layer_norm", d) | _dense(f"{convolution}/gate", d, 2 * d)
            shapes |= {f"{convolution}/depthwise/kernel": (self.kernel, d), f"{convolution}/depthwise/bias": (d,)}
            shapes |= _layer_norm(f"{convolution}/depthwise/layer_norm", d) | _dense(f"{convolution}/output", d, d)
            shapes |= _feed_forward(f"{block}/ff_2", d) | _layer_norm(f"{block}/layer_norm", d)
        # Two matrices, as the last axis of each must be that of the classes (`Network.weight_shapes`).
        return shapes | _dense("output/first", d, self.num_classes) | _dense("output/second", d, self.num_classes)


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/weights": (inputs, outputs), f"{name}/bias": (outputs,)}


def _layer_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


def _feed_forward(name: str, d: int) -> dict[str, tuple[int, ...]]:
    expand, project = _dense(f"{name}/expand", d, EXPANSION * d), _dense(f"{name}/project", EXPANSION * d, d)
    return _layer_norm(f"{name}/layer_norm", d) | expand | project
