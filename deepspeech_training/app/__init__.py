"""From recordings to an endpoint: a process without TensorFlow serves, and trains in processes of their own."""
