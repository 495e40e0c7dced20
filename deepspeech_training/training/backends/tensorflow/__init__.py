"""TensorFlow 2: devices, kernels and the training step."""
