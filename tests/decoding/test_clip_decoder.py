import numpy as np

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.clip_decoder import ClipDecoder

ALPHABET = Alphabet("ab ")


def log_probs_of(text: str) -> np.ndarray:
    """Frames in which each character, and a blank after it, is nearly certain."""
    probs = np.full((2 * len(text), ALPHABET.num_classes), 0.01, np.float32)
    probs[np.arange(0, len(probs), 2), ALPHABET.encode(text)] = 0.97
    probs[1::2, ALPHABET.blank] = 0.97
    return np.log(probs)


def test_clips_are_decoded_side_by_side_each_into_its_own_text(compiled_beam):
    beam, texts = BeamDecoder(ALPHABET.characters, width=8), ["ab", "ba b", "a", "bb aa"] * 5
    with ClipDecoder(beam, ALPHABET.decode) as decoder:
        heard = [decoder.submit(log_probs_of(text)) for text in texts]
        assert [one.result() for one in heard] == [(text, None) for text in texts]


def test_what_a_clip_is_without_the_scorer_comes_with_it(compiled_beam):
    beam = BeamDecoder(ALPHABET.characters, width=8)
    with ClipDecoder(beam, ALPHABET.decode, without_scorer=beam) as decoder:
        assert decoder.submit(log_probs_of("ab ba")).result() == ("ab ba", "ab ba")


def test_the_frames_of_a_clip_may_be_written_over_at_once(compiled_beam):
    log_probs = log_probs_of("ab")
    with ClipDecoder(BeamDecoder(ALPHABET.characters, width=8), ALPHABET.decode) as decoder:
        heard = [decoder.submit(log_probs) for _ in range(20)]
        log_probs[:] = 0
        assert {one.result().text for one in heard} == {"ab"}
