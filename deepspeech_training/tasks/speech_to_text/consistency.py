"""How much what a network writes of two views of a clip differs: the regulariser of consistency-regularised CTC.

CR-CTC (Yao et al. 2024, arXiv:2410.05101): each view learns from what the network writes of the other one, frame by
frame. The views are of one clip with other masks and other dropout; time is moved alike in both.
"""

from typing import Any

from keras import ops


def difference(first: Any, second: Any, lengths: Any) -> Any:
    """Half of KL(first || second) + KL(second || first), where the left one of each is what is learnt from.

    Args:
        first, second: logits float32 [batch, frames, classes] of two views.
        lengths: int32 [batch], frames of each clip; the sum is over these.
    Returns:
        float32 [batch], in nats as the CTC loss.
    """
    log_first, log_second = ops.log_softmax(first), ops.log_softmax(second)
    inside = ops.arange(ops.shape(first)[1])[None, :] < lengths[:, None]

    def divergence(target: Any, log_probs: Any) -> Any:
        target = ops.stop_gradient(target)
        of_frames = ops.sum(ops.exp(target) * (target - log_probs), axis=-1)
        return ops.sum(ops.where(inside, of_frames, 0.0), axis=-1)

    return 0.5 * (divergence(log_first, log_second) + divergence(log_second, log_first))
