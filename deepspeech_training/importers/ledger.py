"""What an import knows, in an SQLite file of the output folder: rows, clips, and which of these are done.

It keeps the memory flat however many rows there are, and makes a run that was killed resume where it was.
"""

import itertools
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

FORMAT = "3"
WHOLE = -1.0  # start and end of a clip that is a whole recording
# These two bound the memory: SQLite sorts in as much as its cache has, then in files.
_PAGE = 2000  # rows that are in Python at a time
_CACHE_KIB = 4000
_TABLES = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE entry (name TEXT, archive TEXT, size INTEGER, fault TEXT, PRIMARY KEY (name, archive)) WITHOUT ROWID;
CREATE TABLE clip (
    id INTEGER PRIMARY KEY, audio TEXT, start_s REAL, end_s REAL, stem TEXT UNIQUE, expected_s REAL,
    fingerprint TEXT DEFAULT '', num_samples INTEGER DEFAULT 0, num_bytes INTEGER DEFAULT 0,
    peak_db REAL DEFAULT 0, rms_db REAL DEFAULT 0, print TEXT DEFAULT '', code TEXT DEFAULT '', reason TEXT DEFAULT '',
    needed INTEGER DEFAULT 0, pending TEXT DEFAULT '', UNIQUE (audio, start_s, end_s)
);
CREATE INDEX clip_needed ON clip (audio) WHERE needed = 1;
CREATE TABLE row (
    id INTEGER PRIMARY KEY, source TEXT, number INTEGER, set_name TEXT, part TEXT DEFAULT '', clip INTEGER, audio TEXT,
    raw TEXT, transcript TEXT, speaker TEXT, code TEXT DEFAULT '', reason TEXT DEFAULT '', value TEXT DEFAULT ''
);
"""
# Made when all rows are there: sorted at once, which is faster than a place for each row.
_ROW_INDEXES = {"row_set": "set_name, code", "row_speaker": "speaker", "row_clip": "clip, code"}
_GONE = "/"  # starts the name of no recording: those are not absolute
_ADD_ROW = (
    "INSERT INTO row (source, number, set_name, clip, audio, raw, transcript, speaker, code, reason, value)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Ledger:
    """The database of one output folder. Use as a context manager.

    Raises:
        sqlite3.DatabaseError: the file is damaged and cannot be made again.
    """

    def __init__(self, path: Path):
        self.path = path
        self._open()
        self._last_commit = time.monotonic()

    def _open(self) -> None:
        try:
            self.db = sqlite3.connect(self.path, isolation_level=None)
            self.db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self.db.execute("PRAGMA secure_delete = OFF")  # Debian's build fills what is deleted with zeros
            self.db.execute("PRAGMA synchronous = OFF")  # a power cut may cost the ledger; clips are then made again
            tables = {name for (name,) in self.db.execute("SELECT name FROM sqlite_master")}
            whole = not tables or (self.recall("format") == FORMAT and self.one("PRAGMA quick_check") == "ok")
        except sqlite3.DatabaseError:
            whole, tables = False, set()
        if not whole:
            self.db.close()
            self.path.unlink()
            self._open()
        elif not tables:
            self.db.executescript(_TABLES)
            self.remember("format", FORMAT)
        if not self.db.in_transaction:
            self.db.execute("BEGIN")

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error) -> None:
        if self.db.in_transaction:
            self.db.commit()
        self.db.close()

    def commit(self, *, at_most_every_s: float = 0.0) -> None:
        if time.monotonic() - self._last_commit >= at_most_every_s:
            self.db.commit()
            self.db.execute("BEGIN")
            self._last_commit = time.monotonic()

    def one(self, query: str, *values):
        """The first column of the first row, or None."""
        found = self.db.execute(query, values).fetchone()
        return None if found is None else found[0]

    def pages(self, query: str, *values) -> Iterator[list[tuple]]:
        """All rows of a query over ids `> ?` that ends in `LIMIT ?`, some thousands at a time; the id comes first.

        Between two pages the tables may be changed.
        """
        last = 0
        while page := self.db.execute(query, (*values, last, _PAGE)).fetchall():
            yield page
            last = page[-1][0]

    def recall(self, key: str) -> str | None:
        return self.one("SELECT value FROM setting WHERE key = ?", key)

    def remember(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))

    # The entries of archives.

    def forget_entries(self, archive: str) -> None:
        self.db.execute("DELETE FROM setting WHERE key = ?", (f"archive {archive}",))
        self.db.execute("DELETE FROM entry WHERE archive = ?", (archive,))

    def keep_entries_of(self, archives: set[str]) -> None:
        """Forget the archives of an earlier run with other sources."""
        for (archive,) in self.db.execute("SELECT DISTINCT archive FROM entry").fetchall():
            if archive not in archives:
                self.forget_entries(archive)

    def add_entry(self, archive: str, name: str, size: int, fault: str) -> bool:
        """Note an entry; False if there was one of that name already, which then counts alone."""
        cursor = self.db.execute("INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?)", (name, archive, size, fault))
        return cursor.rowcount > 0

    def entry_names(self, archive: str) -> Iterator[str]:
        last = ""
        while page := self.db.execute(
            "SELECT name FROM entry WHERE name > ? AND archive = ? AND fault = '' ORDER BY name LIMIT ?",
            (last, archive, _PAGE),
        ).fetchall():
            yield from (name for (name,) in page)
            last = page[-1][0]

    def entry_size(self, archive: str, name: str) -> int | None:
        return self.one("SELECT size FROM entry WHERE name = ? AND archive = ? AND fault = ''", name, archive)

    def entry_fault(self, name: str) -> str:
        return self.one("SELECT fault FROM entry WHERE name = ?", name) or ""

    # Recordings that have to be read: `needed` of a clip is 1, and 2 when its recording was met.

    def count_needed(self, archive: str) -> int:
        """How many of them an archive has."""
        return self.one(
            "SELECT count(DISTINCT audio) FROM clip JOIN entry ON name = audio"
            " WHERE needed = 1 AND archive = ? AND fault = ''",
            archive,
        )

    def needed(self) -> Iterator[str]:
        """Names of recordings, sorted."""
        last = ""
        while page := self.db.execute(
            "SELECT DISTINCT audio FROM clip WHERE needed = 1 AND audio > ? ORDER BY audio LIMIT ?", (last, _PAGE)
        ).fetchall():
            yield from (name for (name,) in page)
            last = page[-1][0]

    def meet(self, audio: str) -> bool:
        """Whether a recording is needed and is met for the first time."""
        return self.db.execute("UPDATE clip SET needed = 2 WHERE audio = ? AND needed = 1", (audio,)).rowcount > 0

    # Rows and clips.

    def clip_id(self, audio: str, start_s: float, end_s: float, stem: str) -> int:
        """The number of a clip, a new one if need be; `stem` is its name without the end, made unique."""
        key = (audio, start_s, end_s)
        found = self.one("SELECT id FROM clip WHERE audio = ? AND start_s = ? AND end_s = ?", *key)
        if found is not None:
            return found
        unique, count = stem, 1
        while (
            holder := self.db.execute("SELECT id, audio FROM clip WHERE stem = ?", (unique,)).fetchone()
        ) is not None:
            if holder[1].startswith(_GONE):  # the same recording, now under another path
                self.db.execute(
                    "UPDATE clip SET audio = ?1, fingerprint = iif(start_s = ?2 AND end_s = ?3, fingerprint, ''),"
                    " start_s = ?2, end_s = ?3 WHERE id = ?4",
                    (*key, holder[0]),
                )
                return holder[0]
            count += 1
            unique = f"{stem}~{count}"
        cursor = self.db.execute("INSERT INTO clip (audio, start_s, end_s, stem) VALUES (?, ?, ?, ?)", (*key, unique))
        return cursor.lastrowid or 0

    def give_up(self, clips: Iterable[int]) -> None:
        """The recordings of these clips are not there under their names; who wants a clip's name takes it over."""
        self.db.executemany(f"UPDATE clip SET audio = '{_GONE}' || id WHERE id = ?", ((clip,) for clip in clips))

    def forget_given_up(self) -> Iterator[str]:
        """Delete those that none took over; returns their stems."""
        for page in self.pages(f"SELECT id, stem FROM clip WHERE audio LIKE '{_GONE}%' AND id > ? ORDER BY id LIMIT ?"):
            self.db.executemany("DELETE FROM clip WHERE id = ?", ((key,) for key, _ in page))
            yield from (stem for _, stem in page)

    def replace_rows(self, rows: Iterable[tuple]) -> int:
        """Take these rows for those of the last run; returns how many there are.

        Args:
            rows: source, number, set_name, clip, audio, raw, transcript, speaker, code, reason, value. While they are
                made, `clip_id` may be called.
        """
        for name in _ROW_INDEXES:
            self.db.execute(f"DROP INDEX IF EXISTS {name}")
        self.db.execute("DELETE FROM row")
        count = 0
        rows = iter(rows)
        while page := list(itertools.islice(rows, _PAGE)):
            self.db.executemany(_ADD_ROW, page)
            count += len(page)
        for name, columns in _ROW_INDEXES.items():
            self.db.execute(f"CREATE INDEX {name} ON row ({columns})")
        return count

    def expect_lengths(self, lengths: Iterable[tuple[str, float]]) -> None:
        """Note what the corpus promises: (recording, seconds), for clips that are a whole recording."""
        self.db.executemany(
            "UPDATE clip SET expected_s = ?2 WHERE audio = ?1 AND start_s = ?3 AND expected_s IS NOT ?2",
            ((audio, seconds, WHOLE) for audio, seconds in lengths),
        )

    def reject(self, faults: Iterable[tuple[str, str, str, int]]) -> None:
        """Mark rows by (code, reason, value, id)."""
        self.db.executemany("UPDATE row SET code = ?, reason = ?, value = ? WHERE id = ?", faults)
