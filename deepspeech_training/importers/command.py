"""The flags that all importers share, and what each of their commands does with them."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.console import Console
from deepspeech_training.importers.clip_jobs import AUDIO_FORMATS
from deepspeech_training.importers.corpus import CORPORA_DIR, PARTS, Corpus, Options, format_corpus
from deepspeech_training.importers.splits import SPLITS
from deepspeech_training.importers.transcripts import TranscriptRules, load_validator


def importer_parser(
    prog: str, description: str, *, example: str, source: str = "SOURCE", sources: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A parser with the common flags.

    Args:
        prog: how the command is called.
        description: what becomes CSVs.
        example: what may follow the name of the command.
        source: how help calls what is read; if it is SOURCE, several can be given.
        sources: short names of public downloads.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=f"{description} to CSVs.", epilog=f"Example: {prog} {example}", allow_abbrev=False
    )
    named = f"; or one of {', '.join(sources)}, which are downloaded" if sources else ""
    parser.add_argument(
        "source",
        nargs="+" if source == "SOURCE" else None,
        metavar=source,
        help=f"a folder, an archive (.tar.gz, .tar, .zip), or the http address of one{named}",
    )
    add_common_flags(parser)
    return parser


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_dir", metavar="DIR", default="", help="else persistent-data/corpora/ and the name of the corpus"
    )
    output.add_argument(
        "--audio_format", choices=list(AUDIO_FORMATS), default="wav", help="flac takes about half the space"
    )
    output.add_argument(
        "--sample_rate", type=int, default=16000, metavar="HZ", help="of the converted clips; else 16000"
    )
    output.add_argument(
        "--hash_speakers", action="store_true", help="write BLAKE2b hashes instead of the names of speakers"
    )
    output.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that convert; 0: one for each core"
    )

    text = parser.add_argument_group("transcripts")
    text.add_argument(
        "--filter_alphabet", metavar="FILE", default="", help="leave out rows with other characters than these"
    )
    text.add_argument(
        "--validate_label_locale",
        metavar="FILE.py",
        default="",
        help="your own rules: a file that defines validate_label(text) -> transcript or None; it is run as Python code",
    )
    text.add_argument("--normalize", action="store_true", help="drop accents and whatever else is not ASCII")
    text.add_argument(
        "--numbers", choices=["keep", "words"], default="keep", help="words: write digits out as they are read"
    )
    text.add_argument("--lowercase", action="store_true", default=None, help="the default rules do so")
    text.add_argument("--nolowercase", dest="lowercase", action="store_false", help="rules of your own do not")
    text.add_argument(
        "--language", metavar="CODE", default="", help="such as en or pt; chooses the rules of punctuation"
    )
    text.add_argument(
        "--space_after_every_character", action="store_true", help="for scripts that have no spaces, such as Chinese"
    )

    clips = parser.add_argument_group("which clips")
    clips.add_argument("--min_seconds", type=float, default=0, metavar="S", help="leave shorter clips out; else none")
    clips.add_argument("--max_seconds", type=float, default=0, metavar="S", help="leave longer clips out; else none")
    clips.add_argument(
        "--split",
        choices=SPLITS,
        default="auto",
        help="official: the corpus's own sets; validated: its dev and test, and all else that is validated in train; "
        "speakers: whole speakers by chance; auto: official where the corpus has a dev or a test",
    )
    clips.add_argument(
        "--unique_sentences", action="store_true", help="with --split validated: no sentence of dev and test in train"
    )
    clips.add_argument(
        "--dev_share",
        type=float,
        default=0.1,
        metavar="X",
        help="of the audio, in --split speakers or where a corpus with a train has no dev; else 0.1",
    )
    clips.add_argument(
        "--test_share",
        type=float,
        default=0.1,
        metavar="X",
        help="of the audio, in --split speakers or where a corpus with a train has no test; else 0.1",
    )
    clips.add_argument("--random_seed", type=int, default=4568, metavar="N", help="of --split speakers; else 4568")

    parser.add_argument("--sha256", metavar="HEX", default="", help="checksum of what is downloaded")
    parser.add_argument(
        "--log_level", type=int, default=1, choices=range(4), help="0 debug, 1 info, 2 warnings, 3 errors"
    )


def import_corpus(
    flags: argparse.Namespace,
    console: Console,
    corpus: Corpus,
    *,
    language: str = "en",
    sources: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Import as the common flags say, and print the paths of train.csv, dev.csv and test.csv.

    Args:
        language: of the corpus, where --language does not say.
        sources: (URL, checksum as "sha256:HEX" or "md5:HEX") by short name.
    """
    options = _options(flags, corpus, flags.language or language)
    given = flags.source if isinstance(flags.source, list) else [flags.source]
    paths = [_source_path(one, flags.sha256, sources or {}, options.output_dir, console) for one in given]
    _say(format_corpus(corpus, paths, options, console), options, console)
    for part in PARTS:
        print(options.output_dir / f"{part}.csv")


def _options(arguments: argparse.Namespace, corpus: Corpus, language: str) -> Options:
    rules = TranscriptRules(
        language=language,
        validator=load_validator(arguments.validate_label_locale) if arguments.validate_label_locale else None,
        numbers=arguments.numbers,
        lowercase=arguments.lowercase,
        normalize=arguments.normalize,
        alphabet=Alphabet.read(arguments.filter_alphabet) if arguments.filter_alphabet else None,
        space_after_every_character=arguments.space_after_every_character,
    )
    return Options(
        output_dir=Path(arguments.output_dir or _corpora_dir() / corpus.name),
        rules=rules,
        sample_rate=arguments.sample_rate,
        audio_format=arguments.audio_format,
        min_seconds=arguments.min_seconds,
        max_seconds=arguments.max_seconds,
        split=arguments.split,
        unique_sentences=arguments.unique_sentences,
        dev_share=arguments.dev_share,
        test_share=arguments.test_share,
        seed=arguments.random_seed,
        hash_speakers=arguments.hash_speakers,
        workers=arguments.workers,
    )


def _corpora_dir() -> Path:
    """The scripts of data_formatting/ name the project's folder; else it counts from where the command is called."""
    return Path(os.environ.get("DEEPSPEECH_CORPORA") or CORPORA_DIR)


def _source_path(given: str, sha256: str, sources: Mapping, output_dir: Path, console: Console) -> Path:
    """The folder or archive; a public one is downloaded beside the output first."""
    url, checksum = sources.get(given, (given, f"sha256:{sha256}" if sha256 else ""))
    if not re.match("https?://", url):
        return Path(given)
    from deepspeech_training.importers.download import download  # urllib and http, which are not small

    return download(url, output_dir / "download", checksum=checksum, console=console)


def _say(report: dict, options: Options, console: Console) -> None:
    for name, summary in report["sets"].items():
        speakers = f"{summary['speakers']:,} speakers" if summary["speakers"] else "no speakers named"
        console.info(f"Set         {name:<14} {summary['clips']:>9,} clips {summary['hours']:>10.2f} h  {speakers}")
    for code, count in report["rejected"].items():
        console.info(f"Rejected    {code:<18} {count:>7,} rows")
    for note in report["notes"]:
        console.info(f"Note        {note}")
    console.info(
        f"Report      {options.output_dir / 'report.html'}; rejected rows in {options.output_dir / 'rejected.csv'}"
    )
