"""DeepSpeech's network: its weights, the Keras form, the numpy reference, the .tflite."""
