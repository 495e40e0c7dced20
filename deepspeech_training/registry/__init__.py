"""Models on the volume: versions of each, which one is promoted, how good they are, and whether a new one is better."""
