"""CTC without letters in the first frames of a clip, in keras.ops: a training loss that cannot be guessed at.

The first frames are the one place of a clip that the network can tell without hearing a word: the LSTM comes from
zeros, and the context reaches before the clip. CTC (Graves et al. 2006) is free to align the first letter with them, as
a guess over all first letters, and then gives almost no gradient to the frames where that letter is heard: a local
optimum in which the first letter of every word is missing (docs/results.md, "Learning"). Here only those alignments
count that are blank there.
"""

from keras import ops

IMPOSSIBLE = -1e4  # a logit whose probability is zero in float32, finite so that its gradient is


def leading_blanks(logits, num_frames, labels, num_labels, *, most: int):
    """Take letters out of the first frames of each clip.

    -log p(transcript, first n frames blank) = cost + the CTC loss of the logits that are returned, where n is `most`,
    or less where the clip has no more frames than its transcript needs.

    Args:
        logits: float32 [batch, frames, classes], the blank last.
        num_frames: int32 [batch].
        labels: int32 [batch, labels], padded with anything.
        num_labels: int32 [batch].
        most: frames to keep free of letters.
    Returns:
        logits of the same shape, and cost float32 [batch].
    """
    inside = ops.arange(ops.shape(labels)[1])[None, :] < num_labels[:, None]
    repeats = ops.sum(ops.cast((labels[:, 1:] == labels[:, :-1]) & inside[:, 1:], "int32"), axis=1)
    free = ops.clip(num_frames - num_labels - repeats, 0, most)
    leading = ops.arange(ops.shape(logits)[1])[None, :] < free[:, None]
    blank = logits.shape[-1] - 1
    cost = -ops.sum(ops.where(leading, ops.log_softmax(logits)[:, :, blank], 0.0), axis=1)
    letters = ops.arange(blank + 1) < blank
    return ops.where(leading[:, :, None] & letters, IMPOSSIBLE, logits), cost
