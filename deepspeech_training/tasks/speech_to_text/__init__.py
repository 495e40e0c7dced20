"""Speech to text: a clip's audio -> features -> logits -> CTC loss, and log probabilities -> transcript."""

from deepspeech_training.tasks.speech_to_text.task import SpeechToText

__all__ = ["SpeechToText"]
