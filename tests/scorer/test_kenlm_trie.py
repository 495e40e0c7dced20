"""The trie against build_binary, byte for byte: golden hashes everywhere, the program where it can be built."""

import hashlib
import struct
import subprocess

import numpy as np
import pytest
from scorer.arpa_text import read_arpa

from deepspeech_training.errors import UserError
from deepspeech_training.scorer.arpa import write_arpa
from deepspeech_training.scorer.kenlm_trie import TrieBits, _packed, trie_chunks, trie_size
from deepspeech_training.scorer.language_model import LanguageModel

# SHA-256 of what build_binary 0.3.0 writes with -v and these flags.
SETTINGS = {
    (): TrieBits(),
    ("-q", "8", "-a", "255"): TrieBits(8, 8, 255),
    ("-q", "6", "-b", "5", "-a", "3"): TrieBits(6, 5, 3),
    ("-q", "8"): TrieBits(8, 8),
    ("-a", "255"): TrieBits(pointer=255),
}
GOLDEN_HASHES = {
    "order3": [
        "b0510fe7e06cd8ad52cb2ce615808db02e8c50894cf97dd18d2cba8681ff8f02",
        "4335a1a030b9ffa2413857e03fd5c4863811862944db62dae460279dd237d3aa",
        "687b8102fe6c36e00dbffb2b644e8d632c176f5b725e58432838a8f4289bf763",
        "207fa5196b5a66345abaaea3f6502bca5fdf3788a9abc11377279bfdd1f93f8b",
        "1c24998e9e893abfebd402a2d6319d64633aa257e754bb38297986ae04199626",
    ],
    "order5_pruned": [
        "3f836e498d3fa2678e52e1a30b4835460c7aa3abac95d177605f2aee46ff6a2e",
        "8063a66d9b1b781722f4220fbb3cdde71f8885d7e2527b5b45546f98859e8fb4",
        "14b0840a41b03ed49e5cfe73f4275d7d5b596596f4e47e1fccfb11be50c6f506",
        "3299feb6ea10ec367a91e0c8e2f3e767f1164f5b9624aa485667cf82b62a6f9a",
        "04d7ff4b39bd91307a52193ca698a928d2860d4ef179c9afad1c3eb8131d8b70",
    ],
    "gaps": [
        "837fb2c6f1bbb47a4915afdf2007888f58d90900ad7b8a5b2e91381cb5d47d0d",
        "6c6d6e3c1ac2e16f7ba6e383687e5887220da1bd5f70bbdb33f7adae83290ef4",
        "9e93defce9e52dc239814a18ece1533bd73bd397bb4b63e1ec0b6bc98f7aea10",
        "ed8cb97700b4bfc43879df13b2d72aae31ea38b734b485e903868e058e8f3e6c",
        "8a5e36a1d6da21156a343f289442fa48e39f73b4c852174b88abb244960c4130",
    ],
}


def trie(model, bits=SETTINGS[()]) -> bytes:
    return b"".join(trie_chunks(model, bits))


@pytest.mark.parametrize(
    ("name", "bits", "sha256"),
    [
        pytest.param(name, bits, sha256, id=f"{name} {' '.join(flags)}")
        for name, hashes in GOLDEN_HASHES.items()
        for (flags, bits), sha256 in zip(SETTINGS.items(), hashes, strict=True)
    ],
)
def test_the_trie_of_a_golden_arpa_file_is_that_of_build_binary(golden, name, bits, sha256):
    data = trie(read_arpa(golden / f"{name}.arpa"), bits)
    assert hashlib.sha256(data).hexdigest() == sha256
    assert trie_size(data, "it") == trie_size(data + b"more", "it") == len(data)


@pytest.mark.slow
@pytest.mark.parametrize(("order", "prune"), [(2, ()), (3, ()), (5, ()), (5, (0, 0, 1)), (6, (0, 0, 1))], ids=str)
def test_the_trie_of_a_corpus_is_that_of_build_binary(kenlm_bins, test_data, tmp_path, order, prune):
    text, arpa = test_data / "text" / "commonvoice-sentences.id.txt", tmp_path / "lm.arpa"
    command = [
        kenlm_bins / "lmplz",
        "--order",
        str(order),
        "--memory",
        "500M",
        "--temp_prefix",
        tmp_path,
        "--text",
        text,
        "--arpa",
        arpa,
        "--discount_fallback",
        "--prune",
        *map(str, prune[:order] or (0,)),
    ]
    subprocess.run(command, capture_output=True, check=True)
    model = read_arpa(arpa)
    for flags, bits in SETTINGS.items():
        command = [kenlm_bins / "build_binary", "-v", *flags, "trie", arpa, tmp_path / "lm.binary"]
        subprocess.run(command, capture_output=True, check=True)
        assert trie(model, bits) == (tmp_path / "lm.binary").read_bytes(), flags


@pytest.mark.slow
def test_a_model_limited_to_some_words_is_that_of_filter(kenlm_bins, golden, tmp_path):
    words = ["the", "cat", "house", "sees", "river"]
    command = [kenlm_bins / "filter", "single", f"model:{golden / 'order3.arpa'}", tmp_path / "lm.arpa"]
    subprocess.run(command, input="\n".join(words).encode(), capture_output=True, check=True)
    ours = read_arpa(golden / "order3.arpa").limited_to(words)
    assert ours.vocabulary[:3] == ["<unk>", "<s>", "</s>"] and set(ours.vocabulary[3:]) == set(words)
    assert trie(ours) == trie(read_arpa(tmp_path / "lm.arpa"))


def test_a_model_reads_back_from_its_arpa_file(golden, tmp_path):
    model = read_arpa(golden / "order5_pruned.arpa")
    write_arpa(tmp_path / "lm.arpa", model)
    assert trie(read_arpa(tmp_path / "lm.arpa")) == trie(model)


def test_a_model_of_single_words_becomes_a_trie_of_order_two(golden):
    model = read_arpa(golden / "order3.arpa")
    data = trie(LanguageModel(model.vocabulary, model.orders[:1]))
    assert data[88] == 2 and trie_size(data, "it") == len(data)


@pytest.mark.parametrize("widths", [(3, 31, 32, 2), (1, 5), (57,), (20, 31, 32, 25)])
def test_packed_bits_read_back(widths):
    generator = np.random.default_rng(0)
    columns = [generator.integers(0, 2**width, 50, dtype=np.uint64) for width in widths]
    number = int.from_bytes(_packed(list(zip(columns, widths, strict=True)), 50), "little")
    for entry in range(50):
        for column, width in zip(columns, widths, strict=True):
            assert number % 2**width == column[entry]
            number >>= width
    assert number == 0


def test_ends_of_ngrams_that_are_missing_are_filled_in_by_backing_off(golden):
    model = read_arpa(golden / "gaps.arpa")
    assert model.counts == [68, 181, 299, 382, 394]
    data = trie(model)  # that it is build_binary's is tested above
    assert struct.unpack_from("<5Q", data, 108) == (68, 201, 327, 438, 394)


def test_a_model_without_the_beginning_of_an_ngram_is_refused(golden):
    model = read_arpa(golden / "order3.arpa")
    bigrams, trigrams = model.orders[1:]
    rest = bigrams.at((bigrams.words != trigrams.words[0, :2]).any(axis=1))
    with pytest.raises(UserError, match="n-grams of order 3 whose first 2 words it lacks"):
        trie(LanguageModel(model.vocabulary, [model.orders[0], rest, trigrams]))


def test_a_damaged_trie_is_refused(golden):
    data = trie(read_arpa(golden / "order3.arpa"), TrieBits(8, 8, 255))
    for cut in (0, 60, 120, 400, len(data) - 1):
        with pytest.raises(UserError, match=r"cut short|not a KenLM|its header says"):
            trie_size(data[:cut], "lm")
    for place, value in ((88, 9), (96, 0), (96, 6), (100, 1), (104, 2)):
        with pytest.raises(UserError, match=r"^lm: "):
            trie_size(data[:place] + bytes([value]) + data[place + 1 :], "lm")
