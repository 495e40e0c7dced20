"""Checkpoint -> .tflite that DeepSpeech's and Coqui STT's deployed clients load; without TensorFlow."""
