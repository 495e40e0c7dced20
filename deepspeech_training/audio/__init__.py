"""Any audio file -> float32 samples, and a cache of them."""
