"""Probabilities -> labels. DECODERS is the table of ways; a beam with a scorer joins as one file and one line."""

from deepspeech_training.decoding.greedy import greedy_labels

# Each takes log probabilities float32 [frames, classes] and `blank`, and gives the labels of the best hypothesis.
DECODERS = {"greedy": greedy_labels}
