"""Any audio file -> float32 samples, and a cache of them."""

from deepspeech_training.audio.files import AudioError, AudioInfo, read_audio, read_audio_info

__all__ = ["AudioError", "AudioInfo", "read_audio", "read_audio_info"]
