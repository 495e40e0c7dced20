"""The options that `deepspeech publish model` and `deepspeech publish space` share."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from deepspeech_training.commands.models_options import add_test_options, test_files_of
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.publishing.folder import README, check_folder, write_folder
from deepspeech_training.publishing.hub import Kind, check_upload, upload
from deepspeech_training.publishing.metadata import language_code
from deepspeech_training.publishing.source import Source, find_source


def publish_parser(prog: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        epilog=f"Example: {prog} published --model persistent-data/models/en --language en --license CC0-1.0",
    )
    parser.add_argument("folder", metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--model",
        required=True,
        metavar="EXPORT",
        help="the folder of an export (--export_dir), or of a registered model (persistent-data/models/NAME, or one of "
        "its versions)",
    )
    parser.add_argument("--scorer", metavar="FILE", help="the .scorer to publish with it (default: one in its folder)")
    parser.add_argument("--title", metavar="TEXT", help="of the page (default: the name of the model)")
    parser.add_argument("--language", default="", metavar="TAG", help="BCP 47, such as en (default: --export_language)")
    parser.add_argument(
        "--license", default="", metavar="NAME", help="SPDX identifier, such as CC0-1.0 (default: --export_license)"
    )
    parser.add_argument(
        "--checkpoint_dir",
        metavar="DIR",
        help="of an export: where its checkpoint is now, for hours and epochs (default: where it was)",
    )
    add_test_options(parser, "test sets to measure it on (default: the figures of a registered model)")
    parser.add_argument("--replace", action="store_true", help="write over the files that are in DIR")
    parser.add_argument(
        "--upload",
        metavar="OWNER/NAME",
        help="upload it to this repository of the Hugging Face hub, which is made where there is none; needs "
        "huggingface_hub and a token (HF_TOKEN)",
    )
    parser.add_argument("--private", action="store_true", help="a repository that is made by --upload is private")
    return parser


def source_of(flags: argparse.Namespace, console: Console) -> Source:
    """What is to be published; flags are checked before it is looked at, and what the export says fills the others.

    Raises:
        UserError: it cannot be used.
    """
    if flags.private and not flags.upload:
        raise FlagError("--private: it is for the repository that --upload makes")
    if flags.upload:
        check_upload(flags.upload)
    if flags.language:
        language_code(flags.language)
    check_folder(Path(flags.folder), [README], replace=flags.replace)
    source = find_source(
        Path(flags.model),
        scorer=Path(flags.scorer) if flags.scorer else None,
        test_files=test_files_of(flags),
        checkpoint_dir=Path(flags.checkpoint_dir) if flags.checkpoint_dir else None,
        processes=flags.proc,
        console=console,
    )
    said = source.card["exported"]
    flags.title = flags.title or source.name
    flags.language = flags.language or said.get("language", "")
    flags.license = flags.license or said.get("license", "")
    if not flags.license:
        console.warn("No licence is known, and without one nobody may use the model: --license CC0-1.0")
    if not flags.language:
        console.warn("No language is known, so nobody who looks for one finds the model: --language en")
    if not source.card["tests"]:
        console.warn("No figures are known: --test_files test.csv measures them")
    return source


def publish(flags: argparse.Namespace, contents: Mapping[str, Path | bytes], kind: Kind, console: Console) -> None:
    """Write the folder, and upload it where that is wanted; prints its path or address."""
    folder = Path(flags.folder)
    check_folder(folder, list(contents), replace=flags.replace)
    write_folder(folder, contents)
    console.info(f"Wrote {len(contents):,} files to {folder}")
    print(upload(folder, list(contents), flags.upload, kind, private=flags.private) if flags.upload else folder)
