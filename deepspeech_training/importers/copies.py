"""The same recording under several names or in several formats: it is never in two of train, dev and test."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from deepspeech_training.console import Console
from deepspeech_training.data.copies import MOST_COPIES, divide_by_sound
from deepspeech_training.importers.converting import Converters

_LOSSY = (".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".webm", ".amr")
_COMPARED_AT_ONCE = 200  # clips
PARTS = ("test", "dev", "train")  # the first that has a recording keeps it: what is tested on stays so


def take_one_format(ledger) -> None:
    """Refuse the rows of recordings that lie beside their own copy in another format (one.wav and one.flac).

    Of those with the same name, set and text one that is not lossy stays.
    """
    # Such recordings want the same name for their clip, and all but one get another.
    names = ledger.db.execute("SELECT audio FROM clip WHERE start_s < 0 AND stem LIKE '%~%'").fetchall()
    for stem in dict.fromkeys(os.path.splitext(name)[0] for (name,) in names):
        found: dict[tuple[str, str], list[tuple[bool, int, str]]] = {}
        query = (  # "." is the character before "/"
            "SELECT row.id, clip.audio, row.set_name, row.transcript FROM clip JOIN row ON row.clip = clip.id"
            " WHERE clip.audio >= ? AND clip.audio < ? AND clip.start_s < 0 AND row.code = ''"
        )
        for row, audio, set_name, transcript in ledger.db.execute(query, (f"{stem}.", f"{stem}/")):
            same_stem, end = os.path.splitext(audio)
            if same_stem == stem:
                found.setdefault((set_name, transcript), []).append((end.lower() in _LOSSY, row, audio))
        for rows in found.values():
            (_, _, kept), *others = sorted(rows)
            ledger.reject(
                ("duplicate", f"the same recording is taken from {os.path.basename(kept)}", audio, row)
                for _, row, audio in others
            )


def find(ledger, converters: Converters, options, console: Console) -> None:
    """Make the table `temp.twin` (clip, copy) of clips that are copies of another, which is the first of them.

    What has the same fingerprint is compared in a worker, so that this process needs no numpy; some at a time, since a
    beep may be there many thousand times.
    """
    ledger.db.execute("DROP TABLE IF EXISTS temp.twin")
    ledger.db.execute("CREATE TEMP TABLE twin (clip INTEGER PRIMARY KEY, copy INTEGER)")
    alike = ledger.db.execute(
        "SELECT print, id, stem FROM clip WHERE code = '' AND print IN (SELECT print FROM clip WHERE print != ''"
        " AND code = '' GROUP BY print HAVING count(*) > 1) ORDER BY print, id"
    )
    for _, group in itertools.groupby(alike, key=lambda clip: clip[0]):
        firsts: dict[str, int] = {}  # the first clip of each sound, with its path
        while some := {options.clip_path(stem): key for _, key, stem in itertools.islice(group, _COMPARED_AT_ONCE)}:
            known = firsts | some
            sounds = converters.call(divide_by_sound, list(known), sample_rate=options.sample_rate)
            firsts = {paths[0]: known[paths[0]] for paths in sounds}
            ledger.db.executemany(
                "INSERT INTO temp.twin VALUES (?, ?)",
                ((some[path], firsts[paths[0]]) for paths in sounds for path in paths if path in some),
            )
    ledger.db.execute(
        "DELETE FROM temp.twin WHERE copy IN (SELECT copy FROM temp.twin GROUP BY copy"
        f" HAVING count(*) NOT BETWEEN 2 AND {MOST_COPIES})"
    )
    if count := ledger.one("SELECT count(DISTINCT copy) FROM temp.twin"):
        console.info(f"Copies      {count:,} recordings are there more than once; each stays in one set")


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a recording; `rank` is the place of its part in PARTS."""

    rank: int
    row: int
    audio: str
    transcript: str
    speaker: str

    def is_copy_of(self, other: "_Row") -> bool:
        return (self.transcript, self.speaker) == (other.transcript, other.speaker)


def keep_apart(ledger, console: Console) -> None:
    """Refuse rows of train whose recording is in dev or test, and rows of dev whose recording is in test.

    Recordings are copies if their samples, texts and speakers are the same; if only the samples are, one of the rows is
    wrong, which is told.
    """
    refused: list[tuple[str, str, str, int]] = []
    differ: list[tuple[str, str]] = []
    for first, *others in _recordings(ledger):
        for other in others:
            if other.rank == first.rank:
                continue
            if other.is_copy_of(first):
                reason = f"the same recording is in {PARTS[first.rank]}: {first.audio}"
                refused.append(("duplicate", reason, other.audio, other.row))
            else:
                differ.append((other.audio, first.audio))
    ledger.reject(refused)
    ledger.db.executemany("UPDATE row SET part = '' WHERE id = ?", ((row,) for *_, row in refused))
    if refused:
        _, reason, audio, _ = refused[0]
        console.warn(f"{len(refused):,} rows are left out, such as {audio}: {reason}")
    if differ:
        console.warn(
            f"{len(differ):,} recordings have the same samples as one in another set, and another text or speaker, such"
            f" as {' and '.join(differ[0])}: is one of the two wrong?"
        )


def _recordings(ledger) -> Iterator[list[_Row]]:
    """The rows of each recording that is in several parts, those of the part that keeps it first."""
    rank = "CASE part WHEN 'test' THEN 0 WHEN 'dev' THEN 1 ELSE 2 END"
    queries = (
        f"SELECT row.clip, {rank}, row.id, row.audio, transcript, speaker FROM row WHERE part != '' AND clip IN"
        " (SELECT clip FROM row WHERE part != '' GROUP BY clip HAVING count(DISTINCT part) > 1) ORDER BY 1, 2, 3",
        f"SELECT copy, {rank}, row.id, row.audio, transcript, speaker FROM temp.twin JOIN row ON row.clip = twin.clip"
        " WHERE part != '' ORDER BY 1, 2, 3",
    )
    for query in queries:
        for _, rows in itertools.groupby(ledger.db.execute(query), key=lambda row: row[0]):
            found = [_Row(*row) for _, *row in rows]
            if found[0].rank != found[-1].rank:
                yield found
