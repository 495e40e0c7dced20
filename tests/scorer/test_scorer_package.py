"""Dictionary and package: DeepSpeech's own scorers rebuilt byte for byte, and the automaton's properties."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.errors import UserError
from deepspeech_training.scorer.dictionary import Automaton, automaton_bytes, build_automaton
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.package import TRAILER, package_bytes, set_alpha_beta, spell
from deepspeech_training.scorer.vocabulary import read_vocabulary


@pytest.mark.parametrize(
    ("name", "vocabulary", "in_bytes"),
    [("pruned_lm.scorer", "vocab.pruned.txt", False), ("pruned_lm.bytes.scorer", "vocab.pruned.bytes.txt", True)],
)
def test_a_scorer_of_deepspeech_is_made_anew_byte_for_byte(test_data, name, vocabulary, in_bytes):
    folder = test_data / "ldc93s1"
    theirs = (folder / name).read_bytes()
    size = trie_size(theirs, name)
    _, _, mode, alpha, beta = TRAILER.unpack_from(theirs, size)
    alphabet = None if in_bytes else Alphabet.read(folder / "alphabet.txt")
    spelled = spell(read_vocabulary(folder / vocabulary), alphabet)
    ours = package_bytes(theirs[:size], spelled.labels, bytes_output_mode=in_bytes, alpha=alpha, beta=beta)
    assert mode == in_bytes and ours == theirs


@settings(max_examples=200, deadline=None)
@given(st.sets(st.lists(st.integers(1, 4), min_size=1, max_size=6).map(tuple), min_size=1, max_size=25))
def test_the_automaton_has_the_words_and_no_two_equal_states(words):
    automaton = build_automaton(list(words))
    assert words_from(automaton, 0) == words
    num_states = len(automaton.is_final)
    assert len({frozenset(words_from(automaton, start)) for start in range(num_states)}) == num_states


def words_from(automaton: Automaton, start: int) -> set[tuple[int, ...]]:
    found, open_paths = set(), [(start, ())]
    while open_paths:
        state, word = open_paths.pop()
        if automaton.is_final[state]:
            found.add(word)
        for arc in range(automaton.first_arc[state], automaton.first_arc[state + 1]):
            open_paths.append((automaton.targets[arc], (*word, int(automaton.labels[arc]))))
    return found


def test_states_and_arcs_are_aligned_wherever_the_dictionary_begins():
    automaton = build_automaton([(1, 2), (1, 3)])
    for offset in range(16):
        data = automaton_bytes(automaton, offset=offset)
        assert (offset + len(data)) % 16 == 0
        states, arcs = struct.unpack_from("<qq", data, 49)
        assert (states, arcs) == (3, 3) and struct.unpack_from("<ii", data, len(data) - 48) == (1, 1)


def test_words_that_the_alphabet_cannot_write_are_left_out_and_listed():
    spelled = spell(["ab", "<s>", "café", "<unk>", "b", "</s>", "a1"], Alphabet("ab "))
    assert spelled.labels == [[1, 2, 3], [2, 3]] and spelled.left_out == ["café", "a1"]


def test_an_alphabet_of_another_language_or_without_space_is_refused():
    with pytest.raises(UserError, match="no word is left"):
        spell(["привет"], Alphabet("ab "))
    with pytest.raises(UserError, match="no space"):
        spell(["ab"], Alphabet("ab"))


def test_bytes_are_the_labels_in_bytes_mode():
    assert spell(["é", "a"], None).labels == [[0xC3, 0xA9], [0x61]]


def test_other_weights_are_written_in_place(test_data, tmp_path):
    path = tmp_path / "my.scorer"
    theirs = (test_data / "ldc93s1" / "pruned_lm.scorer").read_bytes()
    path.write_bytes(theirs)
    set_alpha_beta(path, alpha=0.5, beta=2.25)
    size = trie_size(theirs, "it")
    assert TRAILER.unpack_from(path.read_bytes(), size)[2:] == (False, 0.5, 2.25)
    set_alpha_beta(path, alpha=0.75, beta=1.85)
    assert path.read_bytes() == theirs


def test_weights_are_not_written_into_another_file(golden, tmp_path):
    path = tmp_path / "not.scorer"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="not a KenLM"):
        set_alpha_beta(path, alpha=1, beta=1)
    assert path.read_bytes() == b"x" * 1000
