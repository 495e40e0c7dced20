"""The card and the report beside an exported model, read; `folder.py` writes them."""

import contextlib
import json
from pathlib import Path
from typing import Any

PARITY_FILE = "parity.json"
MAX_CARD_BYTES = 1_000_000


def read_card(folder: Path) -> dict[str, str]:
    """The fields of the card's front matter; those that still have a placeholder count as none."""
    fields: dict[str, str] = {}
    for path in sorted(folder.glob("*.md")):
        text = small_text(path)
        if not text.startswith("---\n"):
            continue
        for line in text.split("---\n")[1].splitlines():
            name, _, value = line.partition(": ")
            with contextlib.suppress(ValueError):
                value = json.loads(value) if value.startswith('"') else value
            if value and not value.startswith("<"):
                fields[name] = value
    return fields


def read_description(folder: Path) -> str:
    """What the author wrote below the card's front matter; "" where that is the placeholder."""
    for path in sorted(folder.glob("*.md")):
        text = small_text(path)
        if text.startswith("---\n") and text.count("---\n") > 1:
            description = text.split("---\n", 2)[2].strip()
            return "" if description.startswith("<") else description
    return ""


def read_parity(folder: Path) -> dict[str, Any]:
    """The parity report; {} where there is none, or one that somebody has damaged."""
    with contextlib.suppress(ValueError):
        found = json.loads(small_text(folder / PARITY_FILE))
        return found if isinstance(found, dict) else {}
    return {}


def small_text(path: Path) -> str:
    """The text of a file; "" where it is missing or too large for what it should be."""
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
