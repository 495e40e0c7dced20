#!/usr/bin/env python3
"""Write the pages of docs/ that are generated; with --check, say which are not fresh."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deepspeech_training.config import flags_markdown

PAGES: dict[str, Callable[[], str]] = {"flags.md": flags_markdown}
DOCS_DIR = Path(__file__).resolve().parents[1] / "docs"


def main(argv: Sequence[str], *, docs_dir: Path = DOCS_DIR) -> int:
    """Write or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make_docs.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not fresh")
    check = parser.parse_args(argv).check
    exit_code = 0
    for name, page in PAGES.items():
        path, text = docs_dir / name, page()
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"docs/{name} is not fresh: run python bin/make_docs.py", file=sys.stderr)
            exit_code = 1
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
