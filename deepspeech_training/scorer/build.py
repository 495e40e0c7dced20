"""The commands that build scorers: `build_scorer` does all; `generate_lm.py` and `generate_scorer_package` are its
two halves with the options that DeepSpeech's programs of these names have."""

import argparse
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
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
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


def build_scorer_main(argv: Sequence[str] | None = None) -> int:
    """Run `build_scorer`; returns its exit code."""
    return _run(build_scorer_parser(), argv, _build_scorer)


def build_scorer(argv: Sequence[str], console: Console) -> None:
    """`build_scorer` for a program: what it says goes to `console`, and its faults are raised."""
    _build_scorer(build_scorer_parser().parse_args(argv), console)


def build_scorer_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build_scorer",
        description="Build an external scorer from text: language model, dictionary, package.",
        allow_abbrev=False,
        epilog="Example: bin/build_scorer --input_txt corpus.txt --alphabet alphabet.txt --package my.scorer",
    )
    parser.add_argument("--input_txt", metavar="FILES", help="text files, a sentence on each line; .gz is unpacked")
    parser.add_argument("--input_csv", metavar="FILES", help="CSV files whose column transcript is taken as well")
    parser.add_argument("--package", required=True, metavar="FILE", help="the scorer to write")
    _add_alphabet_options(parser, "--bytes_output_mode")
    parser.add_argument(
        "--model", metavar="PATH", help="a .tflite or a folder of checkpoints: its alphabet must be that of the scorer"
    )
    parser.add_argument(
        "--top_k",
        type=int,
        default=DEFAULT_TOP_K,
        metavar="N",
        help=_with_default("words to keep, the most frequent ones"),
    )
    parser.add_argument(
        "--keep_case", action="store_true", help="leave capitals as they are; else the text is brought into lower case"
    )
    _add_language_option(parser)
    _add_estimation_options(parser, required=False)
    parser.add_argument("--arpa", metavar="FILE", help="write the language model as an ARPA file too")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="write lm.binary and vocab-N.txt there too, as generate_lm.py does"
    )
    parser.add_argument(
        "--default_alpha",
        type=float,
        default=DEFAULT_ALPHA,
        metavar="X",
        help=_with_default("weight of the language model"),
    )
    parser.add_argument(
        "--default_beta", type=float, default=DEFAULT_BETA, metavar="X", help=_with_default("bonus of each word")
    )
    return parser


def generate_lm_main(argv: Sequence[str] | None = None) -> int:
    """Run `generate_lm.py`; returns its exit code."""
    return _run(generate_lm_parser(), argv, _generate_lm)


def generate_lm_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="generate_lm.py",
        allow_abbrev=False,
        description="Make a language model (lm.binary) and its vocabulary (vocab-N.txt) from text.",
    )
    parser.add_argument("--input_txt", required=True, metavar="FILE", help="a sentence on each line; .gz is unpacked")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="where the two files go")
    parser.add_argument("--top_k", type=int, required=True, metavar="N", help="words to keep, the most frequent ones")
    parser.add_argument(
        "--alphabet", metavar="FILE", help="clean the text for this alphabet.txt; else signs stay, as in DeepSpeech"
    )
    _add_language_option(parser)
    _add_estimation_options(parser, required=True)
    return parser


def generate_scorer_package_main(argv: Sequence[str] | None = None) -> int:
    """Run `generate_scorer_package`; returns its exit code."""
    return _run(generate_scorer_package_parser(), argv, _generate_scorer_package)


def generate_scorer_package_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="generate_scorer_package",
        allow_abbrev=False,
        description="Make a scorer of a language model and a vocabulary.",
    )
    _add_alphabet_options(parser, "--force_bytes_output_mode")
    parser.add_argument("--lm", required=True, metavar="FILE", help="the language model: a KenLM trie, made with -v")
    parser.add_argument("--vocab", required=True, metavar="FILE", help="words separated by white space")
    parser.add_argument("--package", required=True, metavar="FILE", help="the scorer to write")
    parser.add_argument("--default_alpha", type=float, required=True, metavar="X", help="weight of the language model")
    parser.add_argument("--default_beta", type=float, required=True, metavar="X", help="bonus of each word")
    return parser


def _with_default(text: str) -> str:
    return f"{text} (default: %(default)s)"


def _add_language_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--language",
        metavar="CODE",
        default="",
        help="of the text, such as tr or az, whose small form of I is ı (an alphabet with ı tells that too)",
    )


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


def _add_alphabet_options(parser: argparse.ArgumentParser, bytes_option: str) -> None:
    parser.add_argument("--alphabet", metavar="FILE", help="the alphabet.txt of the acoustic model")
    parser.add_argument(
        bytes_option,
        type=_boolean,
        nargs="?",
        const=True,
        metavar="BOOL",
        dest="bytes_output_mode",
        help="make a scorer for models with bytes as labels, without an alphabet; each character is a word",
    )


def _add_estimation_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The options of DeepSpeech's generate_lm.py that `build_scorer` shares."""

    def add(name: str, default, kind: type, metavar: str, text: str) -> None:
        if required:
            parser.add_argument(name, type=kind, required=True, metavar=metavar, help=text)
        else:
            parser.add_argument(name, type=kind, default=default, metavar=metavar, help=_with_default(text))

    parser.add_argument(
        "--kenlm_bins",
        metavar="DIR",
        default="",
        help="folder of an installed KenLM (lmplz, filter, build_binary) to work with, for very large texts",
    )
    add("--arpa_order", 5, int, "N", "words of the longest n-grams, 1 to 6")
    parser.add_argument(
        "--max_arpa_memory",
        default="85%",
        metavar="SIZE",
        help="memory that lmplz may take, as in 85%% or 8G; only with --kenlm_bins (default: 85%%)",
    )
    parser.add_argument(
        "--arpa_prune",
        required=required,
        metavar="N|N|N",
        help="leave out n-grams that occur at most so often, for order 1, 2, 3 and higher"
        + ("" if required else f" (default: {DEFAULT_PRUNE})"),
    )
    add("--binary_a_bits", 255, int, "N", "bits of the indexes that are compressed at most; 255: as pays off, 0: none")
    add("--binary_q_bits", 8, int, "N", "bits of a quantised weight; 0: not quantised")
    add("--binary_type", "trie", str, "trie", "the kind of KenLM file: trie is what the clients read")
    parser.add_argument(
        "--discount_fallback",
        action="store_true",
        help="expect that a small text has too few counts for the discounts: no notice when fixed ones are taken",
    )


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None, work: Callable) -> int:
    flags, console = parser.parse_args(argv), Console()
    try:
        work(flags, console)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        console.error("out of memory\nTake less text, a lower --arpa_order, or an installed KenLM with --kenlm_bins.")
        return UserError.exit_code
    return EXIT_OK


@dataclass(frozen=True)
class _Estimation:
    """The checked options of `_add_estimation_options`."""

    kenlm_bins: str
    order: int
    prune: tuple[int, ...]
    memory: str
    discount_fallback: bool
    bits: TrieBits

    @classmethod
    def check(cls, flags: argparse.Namespace) -> "_Estimation":
        try:
            prune = tuple(map(int, (flags.arpa_prune or DEFAULT_PRUNE).split("|")))
        except ValueError as error:
            raise FlagError(f"--arpa_prune {flags.arpa_prune}: it must be numbers like 0|0|1") from error
        if flags.arpa_prune is None:
            prune = prune[: max(1, flags.arpa_order)]
        try:
            kneser_ney.pruning_thresholds(prune, flags.arpa_order)
        except ValueError as error:
            raise FlagError(
                f"--arpa_order {flags.arpa_order} --arpa_prune {'|'.join(map(str, prune))}: {error}"
            ) from error
        if flags.binary_type != "trie":
            raise FlagError(f"--binary_type {flags.binary_type}: the clients read only the type trie")
        if not 0 <= flags.binary_q_bits <= MAX_QUANTISED_BITS:
            raise FlagError(f"--binary_q_bits {flags.binary_q_bits}: it must be 0 to {MAX_QUANTISED_BITS}")
        if not 0 <= flags.binary_a_bits <= 255:
            raise FlagError(f"--binary_a_bits {flags.binary_a_bits}: it must be 0 to 255")
        if flags.top_k < 1:
            raise FlagError(f"--top_k {flags.top_k}: it must be 1 or more")
        if flags.kenlm_bins:
            kenlm_programs.check_programs(flags.kenlm_bins)
            if flags.arpa_order == 1:
                raise FlagError("--arpa_order 1: KenLM's build_binary needs 2 or more; leave --kenlm_bins out")
        bits = TrieBits(flags.binary_q_bits, flags.binary_q_bits, flags.binary_a_bits or None)
        return cls(flags.kenlm_bins, flags.arpa_order, prune, flags.max_arpa_memory, flags.discount_fallback, bits)


@dataclass(frozen=True)
class _BuiltModel:
    """A language model as a file, and how often its words occur, the most frequent first."""

    trie: bytes
    word_counts: dict[str, int]


def _build_scorer(flags: argparse.Namespace, console: Console) -> None:
    estimation = _Estimation.check(flags)
    texts, csvs = (tuple(filter(None, (names or "").split(","))) for names in (flags.input_txt, flags.input_csv))
    if not texts and not csvs:
        raise FlagError("there is no text: name files with --input_txt, --input_csv or both")
    _check_weights(flags)
    bytes_output_mode = bool(flags.bytes_output_mode)
    alphabet = _alphabet(flags.alphabet, flags.model, bytes_output_mode)
    outputs = [Path(name) for name in (flags.package, flags.arpa) if name]
    _check_folders([*(path.parent for path in outputs), *([Path(flags.output_dir)] if flags.output_dir else [])])
    cleaner = Cleaner(alphabet or ByteAlphabet(), flags.language, case="keep" if flags.keep_case else "lower")
    source = TextSource(texts, csvs, cleaner, characters=bytes_output_mode)
    spelled: list[Spelled] = []

    def choose(counts: dict[str, int]) -> dict[str, int]:
        kept = _most_frequent(counts, flags.top_k, console)
        spelled.append(spell(kept, alphabet))
        _report_left_out(spelled[0], kept, console)
        return kept

    built = _build_model(source, estimation, choose, Path(flags.package).parent, console, arpa_path=flags.arpa)
    if flags.output_dir:
        _write_model(Path(flags.output_dir), flags.top_k, built, console)
    _write_package(flags, built.trie, spelled[0], bytes_output_mode, console)


def _generate_lm(flags: argparse.Namespace, console: Console) -> None:
    estimation = _Estimation.check(flags)
    folder = Path(flags.output_dir)
    _check_folders([folder])

    def choose(counts: dict[str, int]) -> dict[str, int]:
        return _most_frequent(counts, flags.top_k, console)

    alphabet = Alphabet.read(flags.alphabet) if flags.alphabet else ByteAlphabet()
    source = TextSource((flags.input_txt,), cleaner=Cleaner(alphabet, flags.language, case="lower"))
    built = _build_model(source, estimation, choose, folder, console)
    _write_model(folder, flags.top_k, built, console)


def _generate_scorer_package(flags: argparse.Namespace, console: Console) -> None:
    _check_weights(flags)
    _check_folders([Path(flags.package).parent])
    words = read_vocabulary(flags.vocab)
    console.info(f"{len(words):,} unique words in {flags.vocab}")
    bytes_output_mode = flags.bytes_output_mode
    if bytes_output_mode is None:
        bytes_output_mode = all(len(word) == 1 for word in words)
        console.info(f"the words look like {'single characters: bytes mode' if bytes_output_mode else 'words'}")
    alphabet = _alphabet(flags.alphabet, None, bytes_output_mode)
    try:
        trie = Path(flags.lm).read_bytes()
    except OSError as error:
        raise UserError(f"--lm {flags.lm}: cannot read it: {error.strerror}") from error
    if trie_size(trie, f"--lm {flags.lm}") != len(trie):
        raise UserError(f"--lm {flags.lm}: something follows the language model\nIs it a scorer already?")
    spelled = spell(words, alphabet)
    _report_left_out(spelled, {}, console)
    _write_package(flags, trie, spelled, bytes_output_mode, console)


def _check_weights(flags: argparse.Namespace) -> None:
    for name in ("default_alpha", "default_beta"):
        if not math.isfinite(getattr(flags, name)):
            raise FlagError(f"--{name} {getattr(flags, name)}: it must be a finite number")


def _check_folders(folders: Sequence[Path]) -> None:
    """Make the folders of the results before the work, so that it is not in vain."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: this folder cannot be made: {error.strerror}") from error


def _alphabet(alphabet_path: str | None, model_path: str | None, bytes_output_mode: bool) -> Alphabet | None:
    """The alphabet of the dictionary, checked against the model's; None in bytes mode.

    Raises:
        FlagError: neither an alphabet nor a model is named.
        UserError: the two differ, or one cannot be read.
    """
    of_model = _alphabet_of_model(model_path) if model_path else None
    if isinstance(of_model, Alphabet) and bytes_output_mode:
        raise UserError(
            f"{model_path}: this model writes the {of_model.size} characters of an alphabet, not bytes\n"
            "Leave --bytes_output_mode out."
        )
    if isinstance(of_model, ByteAlphabet) and not bytes_output_mode:
        raise UserError(f"{model_path}: this model writes bytes\nIts scorer is built with --bytes_output_mode.")
    if bytes_output_mode:
        return None
    if alphabet_path is None and of_model is None:
        raise FlagError("there is no alphabet: name the alphabet.txt of the acoustic model with --alphabet")
    alphabet = Alphabet.read(alphabet_path) if alphabet_path else of_model
    if of_model is not None and alphabet != of_model:
        ours, its = alphabet.characters, of_model.characters
        label = next(
            (label for label, pair in enumerate(zip(ours, its, strict=False)) if len({*pair}) > 1),
            min(len(ours), len(its)),
        )
        here, there = (repr(text[label]) if label < len(text) else "none" for text in (ours, its))
        raise UserError(
            f"{alphabet_path} is not the alphabet of {model_path}: label {label} is {here} here and {there} there "
            f"({len(ours)} and {len(its)} characters)\n"
            "With another alphabet the scorer would silently spoil every transcript: give the one of the model."
        )
    return alphabet


def _alphabet_of_model(path: str) -> Alphabet | ByteAlphabet:
    """The labels of an exported model, or of a folder's best checkpoint (without one of its last)."""
    if not Path(path).is_dir():
        model = ModelFile.read(path)
        return ByteAlphabet() if model.bytes_mode else Alphabet(model.labels)
    checkpoint = best_or_last(Path(path))
    if checkpoint is None:
        raise UserError(f"--model {path}: there is no checkpoint in this folder")
    return read_description(checkpoint).alphabet


def _build_model(
    source: TextSource,
    estimation: _Estimation,
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
    _check_memory(len(corpus.tokens), estimation.order, console)
    model = kneser_ney.estimate(
        corpus.tokens,
        corpus.vocabulary,
        order=estimation.order,
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
    estimation: _Estimation,
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
            order=estimation.order,
            prune=estimation.prune,
            memory=estimation.memory,
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


def _write_package(
    flags: argparse.Namespace, trie: bytes, spelled: Spelled, bytes_output_mode: bool, console: Console
) -> None:
    data = package_bytes(
        trie, spelled.labels, bytes_output_mode=bytes_output_mode, alpha=flags.default_alpha, beta=flags.default_beta
    )
    write_atomically(Path(flags.package), [data])
    console.info(f"{flags.package}: {len(data):,} bytes, {len(spelled.labels):,} words in the dictionary")
