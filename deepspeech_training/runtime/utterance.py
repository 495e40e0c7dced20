"""One utterance: a stream of the model, and the words of what it has decoded, with their times and confidence."""

from collections.abc import Sequence

import numpy as np

from deepspeech_training.audio.loudness import Loudness
from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.runtime.events import Alternative, Final, Partial, Word
from deepspeech_training.runtime.figures import Heard
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.posteriors import Posteriors
from deepspeech_training.runtime.settings import StreamSettings
from deepspeech_training.runtime.words import word_bounds


class Utterance:
    """Audio of one utterance -> partials and a final.

    Words that cannot change any more are made once; the probabilities of their frames are dropped then.

    Args:
        start_s: where it begins in the session.
        seq: its number.
        heard: is told the final, empty or not, and what the audio was like.
    """

    def __init__(self, model: Model, settings: StreamSettings, *, start_s: float, seq: int, heard: Heard | None = None):
        self._settings, self._start_s, self._seq = settings, start_s, seq
        self._file = model.file
        self._decoder = model.new_decoder(settings)
        self._posteriors = Posteriors(self._decoder, num_classes=len(self._file.labels) + 1)
        self._stream = model.stream_into(self._posteriors)
        geometry = model.file.geometry
        self._step_s = model.file.stride * geometry.step_samples / geometry.sample_rate
        self._space = model.file.labels.index(" ") if " " in model.file.labels else None
        self._separator = "" if self._space is None else " "
        self._words: list[Word] = []  # that cannot change any more
        self._done = 0  # labels of them, with the space after each
        self._num_stable = 0  # words that all further results begin with; times and confidence may still change
        # Of the words that may still change, those of the last results: most are in the next ones too.
        self._known: dict[tuple[int, ...], Word] = {}
        self._next_known: dict[tuple[int, ...], Word] = {}
        self._weights = model.confidence.without_scorer if settings.scorer is None else model.confidence.with_scorer
        self._heard_frames = 0
        self._text = ""
        self._heard_by = heard
        self._loudness = Loudness(geometry.sample_rate) if heard else None

    def feed(self, audio: np.ndarray) -> None:
        """Take further audio: int16 [samples] at the model's rate."""
        self._stream.feedAudioContent(audio)
        if self._loudness is not None:
            self._loudness.add(audio)

    def partial(self) -> Partial | None:
        """What is heard so far, if it is another text than that of the last partial."""
        if self._posteriors.num_frames == self._heard_frames:
            return None
        self._heard_frames = self._posteriors.num_frames
        heard = self._heard(1)[0]
        if heard.text == self._text:
            return None
        self._text = heard.text
        stable = self._joined(heard.words[: self._num_stable])
        return Partial(heard.text, stable, heard.words, self._start_s, self._seq)

    def finish(self, *, end_s: float, reason: str) -> Final:
        """What was heard in all; nothing may be fed any more."""
        self._stream.finishStream()
        alternatives = self._heard(self._settings.num_results)
        words = alternatives[0].words
        confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
        end_s = max([end_s, *(word.end_s for word in words)])
        final = Final(
            alternatives[0].text, words, tuple(alternatives), confidence, self._start_s, end_s, self._seq, reason
        )
        if self._heard_by is not None and self._loudness is not None and self._loudness.seconds:
            self._heard_by(final, self._loudness.measured())
        return final

    def _heard(self, num_results: int) -> list[Alternative]:
        """The candidates so far, at least one, each text once."""
        candidates = self._decoder.results(num_results)
        self._next_known = {}
        self._settle(candidates[0])
        heard: dict[str, Alternative] = {}
        for candidate in candidates:
            words = (*self._words, *self._spell(candidate, self._done, len(candidate.labels)))
            text = self._joined(words)
            heard.setdefault(text, Alternative(text, words, candidate.confidence))
        self._known = self._next_known
        return list(heard.values())

    def _settle(self, candidate: Candidate) -> None:
        """Make the words of what all candidates have in common, up to the last space of it."""
        settled = self._whole_words(candidate.labels, self._decoder.settled)
        if settled > self._done:
            self._words += self._spell(candidate, self._done, settled)
            self._done = settled
            self._posteriors.drop_before(candidate.frames[settled - 1])
        agreed = self._whole_words(candidate.labels, self._decoder.agreed)
        self._num_stable = len(self._words) + len(word_bounds(candidate.labels, self._space, self._done, agreed))

    def _whole_words(self, labels: list[int], end: int) -> int:
        """Of the labels before `end`, those of words whose end is known: it is where the next label begins."""
        end = min(end, len(labels))
        if self._space is None:
            return max(end - 1, self._done)
        while end > self._done and labels[end - 1] != self._space:
            end -= 1
        return end

    def _spell(self, candidate: Candidate, begin: int, end: int) -> list[Word]:
        """The words of some labels; without a space in the alphabet each character is one."""
        return [
            self._word(candidate, first, last) for first, last in word_bounds(candidate.labels, self._space, begin, end)
        ]

    def _word(self, candidate: Candidate, first: int, last: int) -> Word:
        """The word of the labels from `first` on and before `last`; the words of the last results are known."""
        labels, frames = candidate.labels[first:last], candidate.frames[first:last]
        until = candidate.frames[last] if last < len(candidate.frames) else self._posteriors.num_frames
        key = (*labels, *frames, until)
        word = self._known.get(key)
        if word is None:
            text = self._file.text(labels)
            evidence = self._posteriors.evidence(labels, frames, until=until, num_characters=len(text))
            word = Word(
                text,
                round(self._start_s + frames[0] * self._step_s, 3),
                round(self._start_s + evidence.end_frame * self._step_s, 3),
                evidence.confidence(self._weights),
            )
        self._next_known[key] = word
        return word

    def _joined(self, words: Sequence[Word]) -> str:
        return self._separator.join([word.text for word in words])
