"""Checkpoint -> .tflite that DeepSpeech's and Coqui STT's deployed clients load, or .g2p; without TensorFlow."""
