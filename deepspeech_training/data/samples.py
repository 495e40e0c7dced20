"""Rows of CSVs to samples. Every check of a row, and its message, is here.

`check_sets` looks at every row of every CSV before the first step of training: whether the file is there and has
audio, whether the alphabet can write the transcript, and whether the clip has enough frames for it. What the headers
of the audio files say is kept in a cache, so that a second start only asks for their sizes and times. The samples of a
large CSV are kept as a table, so that its second start need not read it.
"""

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import READER, num_samples_after_resampling
from deepspeech_training.audio.shards import stretch_of
from deepspeech_training.console import Console
from deepspeech_training.data.columns import open_columns
from deepspeech_training.data.headers import Header, Headers, state_of, table_path
from deepspeech_training.data.in_order import DEFAULT_WORKERS, batched, in_order
from deepspeech_training.data.rows import (
    LINE_END,
    Row,
    audio_path,
    count_lines,
    quote,
    quotes_fault,
    rows_of,
    show_character,
)
from deepspeech_training.data.sample import REASON_CODES, CheckedData, Rejection, SampleSet, labels_with_repeats
from deepspeech_training.data.set_warnings import copies, warnings_of
from deepspeech_training.data.shard_folder import csvs_of_sets
from deepspeech_training.data.speech_sample import SampleTable, SpeechSample, TableWriter, Writes
from deepspeech_training.data.text import Cleaner, fault_of, invisible_in, shown
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry

FAULTS_SHOWN = 20
ROWS_KEPT = 50_000  # a table of as many is kept for the next start; to check fewer takes a few seconds


def check_sets(
    csvs: Mapping[str, Sequence[str]],
    *,
    alphabet: Writes,
    geometry: FeatureGeometry,
    on_bad_row: str,
    cache_dir: Path | None,
    console: Console,
    alphabet_name: str,
    workers: int | None = None,
    stride: int = 1,
    read: Callable[[str], Iterable[Row]] | None = None,
) -> CheckedData[SpeechSample]:
    """Read all CSVs and check every row of them, with all faults in one report.

    Args:
        csvs: paths of CSVs, or of folders with packed ones, by the name of their set: train, dev, test, metrics.
        alphabet: must have every character of every transcript.
        geometry: gives the number of frames of a clip.
        stride: frames for each that the network makes of them; see `AcousticModel.stride`.
        on_bad_row: "fail" makes an error of any fault, "drop" continues without such rows.
        cache_dir: where to keep what was found for the next start; None: nowhere.
        console: shows the progress.
        alphabet_name: what the report calls the alphabet, such as its path.
        workers: threads that read headers; None: 8.
        read: gives the rows of a CSV; None: `rows.rows_of`.
    Returns:
        The sets in the order given, with the rejected rows and the warnings.
    Raises:
        UserError: a CSV is unusable; there are faults and `on_bad_row` is "fail"; or a CSV has no row left.
    """
    if on_bad_row not in ("fail", "drop"):
        raise ValueError(f"on_bad_row is {on_bad_row!r}")
    csvs = csvs_of_sets(csvs)
    names = _short_names([path for paths in csvs.values() for path in paths])
    check = _Check(alphabet, geometry, stride, cache_dir, console, workers or DEFAULT_WORKERS)
    tables = {path: check.kept(path, name) for path, name in names.items()}
    rows = {path: (read or rows_of)(path) for path in names if tables[path] is None}  # all headers, before any clip
    found: dict[str, SampleTable] = {}
    rejected: list[Rejection] = []
    num_rows = 0
    for path, name in names.items():
        kept = tables[path]
        table, bad = check.table(path, name, rows[path]) if kept is None else (kept, [])
        if not len(table) and not bad:
            raise UserError(f"{path}: the CSV has a header and no rows\nAdd rows, or leave the file out.")
        num_rows += len(table) + len(bad)
        found[path] = table
        rejected += bad
    if rejected and on_bad_row == "fail":
        raise UserError(report(rejected, num_rows, f"{alphabet_name} ({alphabet.size} characters)"))
    for csv_path, table in found.items():
        if not len(table):
            bad = [rejection for rejection in rejected if rejection.csv_path == csv_path]
            raise UserError(
                f"{csv_path}: no row is left of {len(bad):,} ({_count_reasons(bad)})\n"
                "Run with --on_bad_row fail to see the faults."
            )
    sets = {
        set_name: [SampleSet[SpeechSample](path, names[path], found[path]) for path in paths]
        for set_name, paths in csvs.items()
    }
    by_set = {set_name: [found[path] for path in paths] for set_name, paths in csvs.items()}
    warnings = warnings_of(by_set, geometry.sample_rate, check.copies(by_set))
    return CheckedData(sets, rejected, warnings, check.from_cache)


class _Check:
    """Makes tables of the rows of CSVs that can be used, or takes those that an earlier start has kept."""

    def __init__(
        self,
        alphabet: Writes,
        geometry: FeatureGeometry,
        stride: int,
        cache_dir: Path | None,
        console: Console,
        workers: int,
    ):
        self._alphabet, self._geometry, self._stride = alphabet, geometry, stride
        self._cache_dir, self._console, self._workers = cache_dir, console, workers
        self._headers = Headers(cache_dir, console)
        self._from_tables = 0

    @property
    def from_cache(self) -> int:
        """Of how many files the header was known."""
        return self._headers.from_cache + self._from_tables

    def kept(self, csv_path: str, name: str) -> SampleTable | None:
        """The table of an earlier start, if the CSV, what it is checked for and all of its files are still the same."""
        path = self._table_path(csv_path)
        if path is None or not path.exists():
            return None
        try:
            columns = open_columns(path)
            if columns.said["key"] != self._key(csv_path, name):
                return None
            table = SampleTable(columns, csv_path, self._alphabet)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._console.debug(f"{path}: not used, and made again: {error}")
            return None
        if not self._files_are_the_same(table):
            return None
        self._from_tables += table.num_files
        return table

    def _files_are_the_same(self, table: SampleTable) -> bool:
        for shard, state in table.said["shards"].items():
            if state_of(shard) != tuple(state):
                return False
        if not table.said["singles"]:
            return True
        states = zip(table.column("file_size").tolist(), table.column("mtime_ns").tolist(), strict=True)

        def same(task: tuple[tuple[str, tuple[int, int]], ...]) -> bool:
            return all(stretch_of(path) or state_of(path) == state for path, state in task)

        return all(in_order(same, batched(zip(table.files(), states, strict=True)), workers=self._workers))

    def table(self, csv_path: str, name: str, rows: Iterable[Row]) -> tuple[SampleTable, list[Rejection]]:
        """Check all rows of a CSV; what is wrong is in the second part."""
        headers, key = self._headers, self._key(csv_path, name)
        rejected: list[Rejection] = []
        singles: dict[str, None] = {}  # files that are a clip each
        shards: dict[str, tuple[int, int]] = {}
        headers.load(csv_path)

        def of_rows(task: Sequence[Row]) -> list[tuple[Row, Header | None]]:
            return [(row, None if row.fault else headers.of(audio_path(csv_path, row.wav_filename))) for row in task]

        total = max(count_lines(csv_path) - 1, 0)
        with TableWriter() as writer, self._console.progress("checking audio", total=total, unit="clips") as progress:
            for found in in_order(of_rows, batched(rows), workers=self._workers):
                for row, header in found:
                    if header and header.shard:
                        shards[header.shard] = headers.shards[header.shard]
                    elif header:
                        singles[audio_path(csv_path, row.wav_filename)] = None
                    result = _check_row(row, csv_path, name, header, self._alphabet, self._geometry, self._stride)
                    if isinstance(result, Rejection):
                        rejected.append(result)
                    elif header:
                        writer.add(result, row.wav_filename, header.known, header.size, header.mtime_ns)
                progress.update(len(found))
            headers.save(csv_path, singles)
            finish = partial(
                writer.finish,
                csv_path,
                self._alphabet,
                said={"key": key, "shards": shards, "singles": len(singles)},
                num_files=len(singles) + len(shards),
            )
            path = self._table_path(csv_path)
            if path is None or len(writer) < ROWS_KEPT or rejected:
                return finish(path=None), rejected
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                return finish(path=path), rejected
            except (OSError, UserError) as error:
                self._console.warn(f"The checked rows cannot be kept for the next start: {error}")
                return finish(path=None), rejected

    def copies(self, tables: Mapping[str, Sequence[SampleTable]]) -> list[str]:
        """`set_warnings.copies`; of large sets kept for the next start, since it may decode clips."""
        if self._cache_dir is None or not any(len(part) >= ROWS_KEPT for parts in tables.values() for part in parts):
            return copies(tables)
        path = self._cache_dir / "copies.json"
        key = {name: [part.identity() for part in parts] for name, parts in tables.items()}
        with suppress(OSError, ValueError):
            kept = json.loads(path.read_bytes())
            if isinstance(kept, dict) and kept.get("key") == key:
                return [str(line) for line in kept["warnings"]]
        found = copies(tables)
        with suppress(UserError):
            write_atomically(path, [json.dumps({"key": key, "warnings": found}).encode("ascii")])
        return found

    def _table_path(self, csv_path: str) -> Path | None:
        return None if self._cache_dir is None else table_path(self._cache_dir, csv_path)

    def _key(self, csv_path: str, name: str) -> str:
        """What the table of a CSV depends on, but for the audio files."""
        status = os.stat(csv_path)
        said = {
            "csv": [os.path.abspath(csv_path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino],
            "name": name,
            "alphabet": hashlib.sha256(_identity(self._alphabet)).hexdigest(),
            "geometry": asdict(self._geometry),
            "stride": self._stride,
            "reader": READER,
            "unicode": unicodedata.unidata_version,
        }
        return json.dumps(said, sort_keys=True)


def _identity(alphabet: Writes) -> bytes:
    """What tells what writes transcripts from others."""
    return alphabet.serialize() if isinstance(alphabet, Alphabet | ByteAlphabet) else repr(alphabet).encode()


def _short_names(csv_paths: Iterable[str]) -> dict[str, str]:
    """File names by path, with as many folders as it takes to tell two CSVs apart."""
    paths = {str(path): Path(os.path.abspath(path)).parts for path in csv_paths}
    names = {}
    for path, parts in paths.items():
        others = {other for other in paths.values() if other != parts}
        depth = 1
        while any(other[-depth:] == parts[-depth:] for other in others) and depth < len(parts):
            depth += 1
        names[path] = "/".join(parts[-depth:]).replace("//", "/")
    return names


def _check_row(
    row: Row,
    csv_path: str,
    csv_name: str,
    header: Header | None,
    alphabet: Writes,
    geometry: FeatureGeometry,
    stride: int,
) -> SpeechSample | Rejection:
    def reject(code: str, reason: str) -> Rejection:
        return Rejection(csv_path, row.row, row.wav_filename, row.transcript, code, reason)

    if row.fault or header is None:
        return reject("bad_row", row.fault or "")
    path = audio_path(csv_path, row.wav_filename)
    if header.fault:
        return reject(header.fault.code, header.fault.reason)
    if not row.transcript.strip():
        return reject("empty_transcript", "the transcript is empty")
    fault = _text_fault(row, alphabet)
    missing = alphabet.missing(row.transcript)
    if missing:
        assert isinstance(alphabet, Alphabet | ByteAlphabet), "classes of a task can write all that its rows have"
        listed = " ".join(map(show_character, missing[:FAULTS_SHOWN]))
        more = f" and {len(missing) - FAULTS_SHOWN} more" if len(missing) > FAULTS_SHOWN else ""
        in_case = Cleaner(alphabet).in_case(row.transcript)
        hint = (
            ""
            if alphabet.missing(in_case)
            else f" (in {'lower' if in_case.islower() else 'upper'} case all of them are)"
        )
        return reject(
            "not_in_alphabet",
            f"the transcript has characters that are not in the alphabet: {listed}{more}{hint}"
            + (f"; {fault}" if fault else ""),
        )
    if fault:
        return reject("bad_row", fault)
    labels = tuple(alphabet.encode(row.transcript).tolist())
    num_samples = num_samples_after_resampling(header.known.num_frames, header.known.sample_rate, geometry.sample_rate)
    frames, needed = -(-geometry.num_frames(num_samples) // stride), labels_with_repeats(labels)
    if frames < needed:
        needed_s = (geometry.window_samples + (needed - 1) * stride * geometry.step_samples) / geometry.sample_rate
        return reject(
            "too_short",
            f"the clip is too short for its transcript: {frames} frames ({num_samples / geometry.sample_rate:.2f} s) "
            f"for {len(labels)} labels and {needed - len(labels)} repeats, which need {needed} frames "
            f"({needed_s:.2f} s)",
        )
    sample_id = f"{csv_name}:{row.row}"
    size = row.wav_filesize or header.size
    return SpeechSample(sample_id, path, size, row.transcript, labels, num_samples, row.speaker, row.row, csv_path)


def _text_fault(row: Row, alphabet: Writes) -> str:
    """Why the transcript is no text, though the alphabet may have all its characters, as that of bytes does."""
    letters = alphabet.characters if isinstance(alphabet, Alphabet) else ()
    if LINE_END.search(row.transcript) and not {"\r", "\n"} & set(letters):
        return quotes_fault("transcript", row.row, row.transcript)
    if fault := fault_of(row.transcript, letters):
        return fault
    invisible = invisible_in(row.transcript, letters)
    return f"the text has characters that nobody sees: {shown(invisible)}" if invisible else ""


HOW_TO_MEND = {
    "bad_row": "Correct the row; a field with a comma, quote or line break stands in quotes, its own quotes doubled.",
    "missing_file": "Correct wav_filename (it is relative to the folder of the CSV), or restore the file.",
    "unreadable": "Convert or copy the file again from its source.",
    "empty_audio": "Record or copy the clip again, or delete the row.",
    "empty_transcript": "Write what is said, or delete the row.",
    "not_in_alphabet": "Correct the transcript, or add the characters to the alphabet "
    "(its size changes, so training starts over).",
    "too_short": "Correct the transcript, or delete the row: CTC needs a frame for each label and for each repeat.",
}


def report(rejected: Sequence[Rejection], num_rows: int, alphabet: str) -> str:
    """All faults in one text; how to fix a kind of fault stands below the first one of that kind."""
    lines: list[str] = []
    explained: set[str] = set()
    for rejection in rejected[:FAULTS_SHOWN]:
        code = rejection.reason_code
        lines.append(f"{rejection.csv_path}, row {rejection.row}: {rejection.reason}")
        if rejection.wav_filename and code != "bad_row":
            lines.append(f"  file        {quote(audio_path(rejection.csv_path, rejection.wav_filename))}")
        if rejection.transcript and code in ("bad_row", "empty_transcript", "not_in_alphabet", "too_short"):
            lines.append(f"  transcript  {quote(rejection.transcript)}")
        if code == "not_in_alphabet":
            lines.append(f"  alphabet    {alphabet}")
        if code not in explained:
            lines.append(HOW_TO_MEND[code])
            explained.add(code)
    if len(rejected) > FAULTS_SHOWN:
        lines.append(f"... and {len(rejected) - FAULTS_SHOWN:,} more rows with faults.")
    rows = "row has a fault" if len(rejected) == 1 else "rows have faults"
    lines.append(f"{len(rejected):,} of {num_rows:,} {rows}: {_count_reasons(rejected)}")
    lines.append("Fix them, or give --on_bad_row drop to continue without them.")
    return "\n".join(lines)


def _count_reasons(rejected: Iterable[Rejection]) -> str:
    counts = Counter(rejection.reason_code for rejection in rejected)
    return ", ".join(f"{counts[code]:,} {code}" for code in REASON_CODES if counts[code])
