"""Probabilities -> labels: greedily (DECODERS is the table of ways without memory), and as a beam with a scorer."""

from deepspeech_training.decoding.greedy import greedy_labels

# Each takes log probabilities float32 [frames, classes] and `blank`, and gives the labels of the best hypothesis.
DECODERS = {"greedy": greedy_labels}
