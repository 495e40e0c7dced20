"""What fixes the weights of the network: their names, shapes and meaning."""

from collections.abc import Iterator
from dataclasses import dataclass

LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Block:
    """One block: a depthwise filter along the frames, then a matrix over the channels.

    Args:
        name: the group of its weights.
        inputs, outputs: channels.
        kernel: frames that the filter takes, the present one the last.
        dilation: frames from one that it takes to the next.
        residual: whether its inputs are added to what it makes of them, through a matrix of their own.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    dilation: int = 1
    residual: bool = False

    @property
    def reach(self) -> int:
        """Frames before the present one that it hears."""
        return (self.kernel - 1) * self.dilation


@dataclass(frozen=True)
class DsTcResNetGeometry:
    """What fixes the shapes of the weights, and what they mean.

    Args:
        filters: channels of the wide blocks; the three in the middle have half as many.
        n_features: depth of a frame of features.
        n_context: frames that are fed with each frame: none, its filters have their own.
    """

    num_classes: int
    filters: int = 128
    n_features: int = 40
    n_context: int = 0

    @property
    def blocks(self) -> tuple[Block, ...]:
        """In their order; together they hear 108 frames before the present one."""
        wide, narrow = self.filters, self.filters // 2
        return (
            Block("block_1", self.n_features, wide, 11),
            Block("block_2", wide, narrow, 13, residual=True),
            Block("block_3", narrow, narrow, 15, residual=True),
            Block("block_4", narrow, narrow, 17, residual=True),
            Block("block_5", narrow, wide, 29, dilation=2),
            Block("block_6", wide, wide, 1),
        )

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's canonical name and shape, in the order of the network."""
        shapes: dict[str, tuple[int, ...]] = {}
        for block in self.blocks:
            shapes |= dict(_of_block(block))
        return shapes | {
            "output/weights": (self.filters, self.num_classes),
            "output/bias": (self.num_classes,),
        }


def _of_block(block: Block) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{block.name}/depthwise/kernel", (block.kernel, block.inputs)
    yield f"{block.name}/depthwise/bias", (block.inputs,)
    yield f"{block.name}/pointwise/weights", (block.inputs, block.outputs)
    yield f"{block.name}/pointwise/bias", (block.outputs,)
    yield f"{block.name}/layer_norm/gamma", (block.outputs,)
    yield f"{block.name}/layer_norm/beta", (block.outputs,)
    if block.residual:
        yield f"{block.name}/residual/weights", (block.inputs, block.outputs)
        yield f"{block.name}/residual/bias", (block.outputs,)
