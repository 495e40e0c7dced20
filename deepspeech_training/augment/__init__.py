"""What --augment can say, and its effects on waveforms and spectrograms."""
