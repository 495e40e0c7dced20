"""Names that people type -> names of files, chosen here: no text of a request becomes a path."""

import re
import unicodedata
from collections.abc import Collection

LONGEST_NAME = 80  # characters that somebody types
_LONGEST_FILE_NAME = 40


def file_name(name: str, taken: Collection[str], otherwise: str) -> str:
    """A name of ASCII letters, digits and dashes that is not taken yet.

    Args:
        otherwise: what it is called where nothing of its name is left.

    >>> file_name("Küche, Befehle", [], "corpus"), file_name("../..", ["corpus"], "corpus")
    ('kuche-befehle', 'corpus-2')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub("[^a-z0-9]+", "-", plain)[:_LONGEST_FILE_NAME].strip("-") or otherwise
    found, number = stem, 1
    while found in taken:
        number += 1
        found = f"{stem}-{number}"
    return found
