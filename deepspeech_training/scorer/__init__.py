"""Text -> external scorer: n-gram language model (KenLM's file), dictionary (OpenFst's file), package."""
