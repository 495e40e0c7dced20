"""Text -> an external scorer; `build_language_model` and `package_scorer` are its two halves, as DeepSpeech has them.

What a message calls `--name` is the option of the commands `scorer build`, `scorer lm` and `scorer package`.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.checkpoints.describe import read_description
from deepspeech_training.checkpoints.folder import best_or_last
from deepspeech_training.console import Console
from deepspeech_training.data.text import Cleaner
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import available_memory
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.scorer import kenlm_programs, kneser_ney
from deepspeech_training.scorer.arpa import write_arpa
from deepspeech_training.scorer.kenlm_trie import MAX_QUANTISED_BITS, TrieBits, trie_chunks, trie_size
from deepspeech_training.scorer.package import DEFAULT_ALPHA, DEFAULT_BETA, Spelled, package_bytes, spell
from deepspeech_training.scorer.vocabulary import Corpus, TextSource, read_vocabulary, write_vocabulary

DEFAULT_TOP_K = 500_000
DEFAULT_PRUNE = "0|0|1"
WORDS_SHOWN = 20


@dataclass(frozen=True)
class Estimation:
    """How a language model is estimated; the names are those of the options of DeepSpeech's generate_lm.py.

    Args:
        arpa_order: words of the longest n-grams.
        arpa_prune: n-grams that occur at most so often are left out, for order 1, 2, 3 and higher; None: 0|0|1.
        binary_a_bits: bits of the indexes that are compressed at most; 255: as pays off, 0: none.
        binary_q_bits: bits of a quantised weight; 0: not quantised.
        binary_type: the kind of KenLM file; the clients read only "trie".
        kenlm_bins: folder of an installed KenLM to work with; "": none.
        max_arpa_memory: what its lmplz may take.
        discount_fallback: no notice where the counts are too few for the discounts.
    Raises:
        FlagError: a value is out of bounds, or there is no KenLM in the folder.
    """

    arpa_order: int = 5
    arpa_prune: str | None = None
    binary_a_bits: int = 255
    binary_q_bits: int = 8
    binary_type: str = "trie"
    kenlm_bins: str = ""
    max_arpa_memory: str = "85%"
    discount_fallback: bool = False

    def __post_init__(self) -> None:
        try:
            kneser_ney.pruning_thresholds(self.prune, self.arpa_order)
        except ValueError as error:
            raise FlagError(
                f"--arpa_order {self.arpa_order} --arpa_prune {'|'.join(map(str, self.prune))}: {error}"
            ) from error
        if self.binary_type != "trie":
            raise FlagError(f"--binary_type {self.binary_type}: the clients read only the type trie")
        if not 0 <= self.binary_q_bits <= MAX_QUANTISED_BITS:
            raise FlagError(f"--binary_q_bits {self.binary_q_bits}: it must be 0 to {MAX_QUANTISED_BITS}")
        if not 0 <= self.binary_a_bits <= 255:
            raise FlagError(f"--binary_a_bits {self.binary_a_bits}: it must be 0 to 255")
        if self.kenlm_bins:
            kenlm_programs.check_programs(self.kenlm_bins)
            if self.arpa_order == 1:
                raise FlagError("--arpa_order 1: KenLM's build_binary needs 2 or more; leave --kenlm_bins out")

    @property
    def prune(self) -> tuple[int, ...]:
        try:
            prune = tuple(map(int, (self.arpa_prune or DEFAULT_PRUNE).split("|")))
        except ValueError as error:
            raise FlagError(f"--arpa_prune {self.arpa_prune}: it must be numbers like 0|0|1") from error
        return prune if self.arpa_prune is not None else prune[: max(1, self.arpa_order)]

    @property
    def bits(self) -> TrieBits:
        return TrieBits(self.binary_q_bits, self.binary_q_bits, self.binary_a_bits or None)


@dataclass(frozen=True)
class Package:
    """The scorer to write.

    Args:
        path: of the file.
        alphabet: the acoustic model's, or the path of its alphabet.txt; that of bytes is bytes_output_mode.
        model: path of a .tflite or a folder of checkpoints, whose alphabet must be that of the scorer.
        bytes_output_mode: for models with bytes as labels; None: as the words look (only of a vocabulary).
        default_alpha, default_beta: weights that are written into it.
    Raises:
        FlagError: a weight is no number.
    """

    path: str
    alphabet: Alphabet | ByteAlphabet | str | None = None
    model: str | None = None
    bytes_output_mode: bool | None = None
    default_alpha: float = DEFAULT_ALPHA
    default_beta: float = DEFAULT_BETA

    def __post_init__(self) -> None:
        for name in ("default_alpha", "default_beta"):
            if not math.isfinite(getattr(self, name)):
                raise FlagError(f"--{name} {getattr(self, name)}: it must be a finite number")


@dataclass(frozen=True)
class _BuiltModel:
    """A language model as a file, and how often its words occur, the most frequent first."""

    trie: bytes
    word_counts: dict[str, int]


def build_scorer(
    package: Package,
    estimation: Estimation,
    *,
    texts: Sequence[str] = (),
    csvs: Sequence[str] = (),
    keep_case: bool = False,
    language: str = "",
    top_k: int = DEFAULT_TOP_K,
    arpa: str | None = None,
    output_dir: str | None = None,
    console: Console,
) -> None:
    """Text to a scorer: language model, dictionary, package.

    Args:
        texts: files with a sentence on each line; .gz is unpacked.
        csvs: files whose column transcript is taken as well.
        keep_case: leave capitals as they are; else the text is brought into lower case.
        language: of the text, which tells the small form of I.
        top_k: words to keep, the most frequent ones.
        arpa: where the language model goes as text too.
        output_dir: where lm.binary and vocab-N.txt go too.
    Raises:
        UserError: what is asked for cannot be done.
    """
    if not texts and not csvs:
        raise FlagError("there is no text: name files with --input_txt, --input_csv or both")
    _check_top_k(top_k)
    bytes_output_mode = bool(package.bytes_output_mode) or isinstance(package.alphabet, ByteAlphabet)
    alphabet = _alphabet(package.alphabet, package.model, bytes_output_mode)
    outputs = [Path(name) for name in (package.path, arpa) if name]
    _check_folders([*(path.parent for path in outputs), *([Path(output_dir)] if output_dir else [])])
    cleaner = Cleaner(alphabet or ByteAlphabet(), language, case="keep" if keep_case else "lower")
    source = TextSource(tuple(texts), tuple(csvs), cleaner, characters=bytes_output_mode)
    spelled: list[Spelled] = []

    def choose(counts: dict[str, int]) -> dict[str, int]:
        kept = _most_frequent(counts, top_k, console)
        spelled.append(spell(kept, alphabet))
        _report_left_out(spelled[0], kept, console)
        return kept

    built = _build_model(source, estimation, choose, Path(package.path).parent, console, arpa_path=arpa)
    if output_dir:
        _write_model(Path(output_dir), top_k, built, console)
    _write_package(package, built.trie, spelled[0], bytes_output_mode, console)


def build_language_model(
    text: str,
    output_dir: str,
    estimation: Estimation,
    *,
    top_k: int,
    alphabet: str | None = None,
    language: str = "",
    console: Console,
) -> None:
    """The first half: a text to lm.binary and vocab-N.txt in a folder.

    Args:
        alphabet: path of an alphabet.txt that the text is cleaned for; None: signs stay, as in DeepSpeech.
    """
    _check_top_k(top_k)
    folder = Path(output_dir)
    _check_folders([folder])

    def choose(counts: dict[str, int]) -> dict[str, int]:
        return _most_frequent(counts, top_k, console)

    labels = Alphabet.read(alphabet) if alphabet else ByteAlphabet()
    source = TextSource((text,), cleaner=Cleaner(labels, language, case="lower"))
    built = _build_model(source, estimation, choose, folder, console)
    _write_model(folder, top_k, built, console)


def package_scorer(package: Package, *, lm: str, vocab: str, console: Console) -> None:
    """The second half: a language model (a KenLM trie, made with -v) and its words to a scorer."""
    _check_folders([Path(package.path).parent])
    words = read_vocabulary(vocab)
    console.info(f"{len(words):,} unique words in {vocab}")
    bytes_output_mode = package.bytes_output_mode
    if bytes_output_mode is None:
        bytes_output_mode = all(len(word) == 1 for word in words)
        console.info(f"the words look like {'single characters: bytes mode' if bytes_output_mode else 'words'}")
    alphabet = _alphabet(package.alphabet, None, bytes_output_mode)
    try:
        trie = Path(lm).read_bytes()
    except OSError as error:
        raise UserError(f"--lm {lm}: cannot read it: {error.strerror}") from error
    if trie_size(trie, f"--lm {lm}") != len(trie):
        raise UserError(f"--lm {lm}: something follows the language model\nIs it a scorer already?")
    spelled = spell(words, alphabet)
    _report_left_out(spelled, {}, console)
    _write_package(package, trie, spelled, bytes_output_mode, console)


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise FlagError(f"--top_k {top_k}: it must be 1 or more")


def _check_folders(folders: Sequence[Path]) -> None:
    """Make the folders of the results before the work, so that it is not in vain."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: this folder cannot be made: {error.strerror}") from error


def _alphabet(
    given: Alphabet | ByteAlphabet | str | None, model_path: str | None, bytes_output_mode: bool
) -> Alphabet | None:
    """The alphabet of the dictionary, checked against the model's; None in bytes mode.

    Raises:
        FlagError: neither an alphabet nor a model is named.
        UserError: the two differ, or one cannot be read.
    """
    of_model = _alphabet_of_model(model_path) if model_path else None
    if bytes_output_mode:
        if isinstance(of_model, Alphabet):
            raise UserError(
                f"{model_path}: this model writes the {of_model.size} characters of an alphabet, not bytes\n"
                "Leave --bytes_output_mode out."
            )
        return None
    if isinstance(of_model, ByteAlphabet):
        raise UserError(f"{model_path}: this model writes bytes\nIts scorer is built with --bytes_output_mode.")
    alphabet = Alphabet.read(given) if isinstance(given, str) else given or of_model
    if not isinstance(alphabet, Alphabet):
        raise FlagError("there is no alphabet: name the alphabet.txt of the acoustic model with --alphabet")
    if of_model is not None and alphabet != of_model:
        ours, its = alphabet.characters, of_model.characters
        label = next(
            (label for label, pair in enumerate(zip(ours, its, strict=False)) if len({*pair}) > 1),
            min(len(ours), len(its)),
        )
        here, there = (repr(text[label]) if label < len(text) else "none" for text in (ours, its))
        raise UserError(
            f"{given} is not the alphabet of {model_path}: label {label} is {here} here and {there} there "
            f"({len(ours)} and {len(its)} characters)\n"
            "With another alphabet the scorer would silently spoil every transcript: give the one of the model."
        )
    return alphabet


def _alphabet_of_model(path: str) -> Alphabet | ByteAlphabet:
    """The labels of an exported model, or of a folder's best checkpoint (without one of its last).

    Raises:
        UserError: there is none, or its labels are no characters.
    """
    if not Path(path).is_dir():
        model = ModelFile.read(path)
        try:
            return ByteAlphabet() if model.bytes_mode else Alphabet(model.labels)
        except ValueError as error:
            raise UserError(
                f"{path}: a scorer is for models that write a character with each label; {error}"
            ) from error
    checkpoint = best_or_last(Path(path))
    if checkpoint is None:
        raise UserError(f"--model {path}: there is no checkpoint in this folder")
    alphabet = read_description(checkpoint).alphabet
    if alphabet is None:
        raise UserError(f"{checkpoint}: a scorer is for models that write characters; this one has no alphabet")
    return alphabet


def _build_model(
    source: TextSource,
    estimation: Estimation,
    choose: Callable[[dict[str, int]], dict[str, int]],
    folder: Path,
    console: Console,
    *,
    arpa_path: str | None = None,
) -> _BuiltModel:
    """Estimate a language model.

    Args:
        choose: takes how often the words occur, the most frequent first, and returns those to keep; it is called
            before the long work, so that a mistake shows early.
        folder: where KenLM's temporary files go, which are larger than the text.
        arpa_path: where the model goes as text as well.
    """
    if estimation.kenlm_bins:
        return _build_with_kenlm(source, estimation, choose, folder, console, arpa_path=arpa_path)
    corpus = Corpus.read(source.sentences(console))
    kept = choose(corpus.word_counts())
    _check_memory(len(corpus.tokens), estimation.arpa_order, console)
    model = kneser_ney.estimate(
        corpus.tokens,
        corpus.vocabulary,
        order=estimation.arpa_order,
        prune=estimation.prune,
        console=console,
        announce_fallback=not estimation.discount_fallback,
    )
    del corpus
    model = model.limited_to(kept)
    console.info("n-grams of order 1, 2, ...: " + ", ".join(f"{count:,}" for count in model.counts))
    if arpa_path:
        write_arpa(Path(arpa_path), model)
    return _BuiltModel(b"".join(trie_chunks(model, estimation.bits)), kept)


def _build_with_kenlm(
    source: TextSource,
    estimation: Estimation,
    choose: Callable[[dict[str, int]], dict[str, int]],
    folder: Path,
    console: Console,
    *,
    arpa_path: str | None,
) -> _BuiltModel:
    with tempfile.TemporaryDirectory(prefix=".build_scorer.", dir=folder) as name:
        folder = Path(name)
        counts = kenlm_programs.write_sentences(folder / "text.txt", source.sentences(console))
        kept = choose(dict(counts.most_common()))
        arpa, binary = kenlm_programs.estimate_and_build(
            estimation.kenlm_bins,
            folder,
            folder / "text.txt",
            list(kept) if len(kept) < len(counts) else None,
            order=estimation.arpa_order,
            prune=estimation.prune,
            memory=estimation.max_arpa_memory,
            bits=estimation.bits,
            console=console,
        )
        if arpa_path:
            write_atomically(Path(arpa_path), [arpa.read_bytes()])
        return _BuiltModel(binary.read_bytes(), kept)


def _most_frequent(counts: dict[str, int], top_k: int, console: Console) -> dict[str, int]:
    """The first `top_k` of words that are sorted by how often they occur, with a report of what that leaves out."""
    if not counts:
        raise UserError("the text has no words\nName other files with --input_txt or --input_csv.")
    kept = dict(list(counts.items())[:top_k])
    total = sum(counts.values())
    share = 100 * sum(kept.values()) / total
    console.info(f"{total:,} words, {len(counts):,} different ones; the top {len(kept):,} are {share:.2f} % of all")
    if len(kept) < len(counts):
        word, count = list(kept.items())[-1]
        console.info(f"the rarest word that is kept is {word!r}, which occurs {count:,} times")
    return kept


def _check_memory(num_tokens: int, order: int, console: Console) -> None:
    """Say what memory the estimation takes, and stop where there is not so much."""
    needed, available = kneser_ney.memory_bytes(num_tokens, order), available_memory()
    known = "" if available is None else f" of {available / 1e9:.1f} GB that are free"
    console.info(f"estimating order {order} takes up to {needed / 1e9:.1f} GB of memory{known}")
    advice = "Take less text, a lower --arpa_order, or an installed KenLM with --kenlm_bins."
    if available is not None and needed > available:
        raise UserError(f"the text has {num_tokens:,} words: too many for the memory\n{advice}")


def _report_left_out(spelled: Spelled, counts: dict[str, int], console: Console) -> None:
    if not spelled.left_out:
        return
    shown = " ".join(spelled.left_out[:WORDS_SHOWN])
    more = " ..." if len(spelled.left_out) > WORDS_SHOWN else ""
    total = sum(counts.values())
    share = 100 * sum(counts[word] for word in spelled.left_out) / total if total else 0.0
    often = f" ({share:.2f} % of the text)" if total else ""
    console.warn(
        f"{len(spelled.left_out):,} words{often} have characters that the alphabet lacks and will never be written: "
        f"{shown}{more}"
    )


def _write_model(folder: Path, top_k: int, built: _BuiltModel, console: Console) -> None:
    write_vocabulary(folder / f"vocab-{top_k}.txt", built.word_counts)
    write_atomically(folder / "lm.binary", [built.trie])
    console.info(f"{folder / 'lm.binary'}: {len(built.trie):,} bytes; {folder / f'vocab-{top_k}.txt'}")


def _write_package(package: Package, trie: bytes, spelled: Spelled, bytes_output_mode: bool, console: Console) -> None:
    alpha, beta = package.default_alpha, package.default_beta
    data = package_bytes(trie, spelled.labels, bytes_output_mode=bytes_output_mode, alpha=alpha, beta=beta)
    write_atomically(Path(package.path), [data])
    console.info(f"{package.path}: {len(data):,} bytes, {len(spelled.labels):,} words in the dictionary")
