"""What a run tells: events, messages, logs, metrics, diagnosis."""
