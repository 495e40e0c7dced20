#!/usr/bin/env python3
"""Print FILE:LINE of every phrase that the word list of docs/style.md replaces; exit with 1 if there is one."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (".ci", ".github", "benchmarks", "bin", "data_formatting", "deepspeech_training", "docker", "docs", "tests")
KINDS = {"", ".conf", ".css", ".html", ".ipynb", ".js", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
EXEMPT = {"LICENSE", "docs/style.md"}


def word_list(page: str) -> dict[str, str]:
    """Each phrase of the table, in lower case, and what to write instead."""
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|$", page[page.index("## Word list") :], re.MULTILINE)
    return {phrase: better for phrases, better in rows for phrase in phrases.split(", ")}


def main() -> int:
    words = word_list((ROOT / "docs" / "style.md").read_text(encoding="utf-8"))
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
    paths = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    found = 0
    for path in sorted(path for path in paths if path.is_file() and path.suffix in KINDS):
        name = path.relative_to(ROOT).as_posix()
        if name in EXEMPT or path.is_symlink() or "__pycache__" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in pattern.finditer(line.replace("\\n", "  ")):  # of strings
                print(f"{name}:{number}: {match[0]!r}: {words[match[0].lower()]}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
