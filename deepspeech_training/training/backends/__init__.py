"""The one place that names a machine-learning framework."""
