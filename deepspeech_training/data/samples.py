"""CSV rows to Samples: the first step on the way of the data. Every check of a row, and its message, lives here.

`check_sets` looks at every row of every CSV before the first step of training: whether the file is there and has
audio, whether the alphabet can write the transcript, and whether the clip has enough frames for it. What the headers
of the audio files say is kept in a cache, so that a second start only asks for their sizes and times.
"""

import csv
import hashlib
import io
import itertools
import json
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import (
    READER,
    AudioError,
    AudioInfo,
    num_samples_after_resampling,
    read_audio_info,
)
from deepspeech_training.audio.shards import open_shard, size_of, status_of, stretch_of
from deepspeech_training.console import Console
from deepspeech_training.data.copies import Recording, find_copies
from deepspeech_training.data.sample import CheckedData, Rejection, SampleSet
from deepspeech_training.data.shard_folder import csvs_of_sets
from deepspeech_training.data.tables import holds_rows
from deepspeech_training.data.text import Cleaner, fault_of, invisible_in, shown
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.text_files import SAVE_AS_UTF8, NotDecoded, decode

if TYPE_CHECKING:
    import numpy as np

REASON_CODES = (
    "bad_row",
    "missing_file",
    "unreadable",
    "empty_audio",
    "empty_transcript",
    "not_in_alphabet",
    "too_short",
)
SPEAKER_COLUMNS = ("client_id", "speaker")
FAULTS_SHOWN = 20
TEXT_SHOWN = 200  # characters of a transcript in a message
MAX_FIELD_CHARACTERS = 1 << 20  # far more than any transcript: a longer field is a quote that never closes
PATHS_PER_TASK = 64
_LINE_END = re.compile("\r\n|\r|\n")
# A header in the page cache costs 0.03 ms, nearly all of it in Python; on a network volume latency counts, and threads
# hide it. (Measured on 10,000 clips: processes would save 0.1 s.)
DEFAULT_WORKERS = 8
CACHE_FORMAT = f"deepspeech_training audio headers 2, reader {READER}"


class Writes(Protocol):
    """What makes labels of a transcript: an alphabet, or the classes of a task that has one label a clip."""

    @property
    def size(self) -> int: ...

    def missing(self, text: str) -> list[str]:
        """What of a text it cannot write."""

    def encode(self, text: str) -> "np.ndarray":
        """Labels int32 [labels]."""


@dataclass(frozen=True, slots=True)
class SpeechSample:
    """One clip and its transcript, known to be readable, encodable and long enough.

    Args:
        id: the CSV and the row, as in "train.csv:17".
        path: absolute.
        size: bytes, from the column wav_filesize, or of the file where that is empty or 0: the key to sort by.
        transcript: in NFC.
        labels: what the alphabet makes of it.
        num_samples: length at the sample rate of the geometry.
        speaker: from the column `client_id` or `speaker`; None where there is none.
        row: as an editor numbers it: the header is row 1.
        csv_path: as it was given.
    """

    id: str
    path: str
    size: int
    transcript: str
    labels: tuple[int, ...]
    num_samples: int
    speaker: str | None
    row: int
    csv_path: str

    @property
    def content(self) -> str:
        return self.transcript

    @property
    def cost(self) -> int:
        return self.num_samples


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a CSV as it was read; `fault` says why its fields cannot be used."""

    row: int
    wav_filename: str = ""
    wav_filesize: int = 0
    transcript: str = ""
    speaker: str | None = None
    fault: str | None = None


def read_rows(csv_path: str | Path, *, text_columns: Sequence[str] = ("transcript",)) -> list[Row]:
    """Read a CSV with the columns `wav_filename`, `transcript`, and optionally `wav_filesize` and a speaker.

    The text is that of the first of `text_columns` that the CSV has.

    UTF-8, or UTF-16 with a byte order mark; any line ends, blank lines skipped. Transcripts are brought into NFC;
    paths stay as they are, since a file system may tell its forms apart. A row whose fields cannot be told apart
    is returned with its `fault`, and reading continues with the next line.

    Raises:
        UserError: the file or its encoding cannot be read; it is empty, or lacks a column.
    """
    return [row for row, _ in read_table(csv_path, text_columns=text_columns)[1]]


def read_table(
    csv_path: str | Path, *, text_columns: Sequence[str] = ("transcript",)
) -> tuple[list[str], list[tuple[Row, list[str]]]]:
    """As `read_rows`, with all columns: their names, and each row with its fields as they are in the CSV.

    Where a row has a `fault`, its fields may be others than the columns.
    """
    try:
        data = Path(csv_path).read_bytes()
    except OSError as error:
        raise UserError(f"{csv_path}: cannot read the CSV: {error.strerror}") from error
    try:
        text = decode(data)
    except NotDecoded as error:
        raise UserError(
            f"{csv_path}, row {error.line}: byte 0x{error.byte:02x} is not UTF-8; {error.guess}\n{SAVE_AS_UTF8}"
        ) from error
    records = _records(list(io.StringIO(text, newline="")))
    number, header, fault = next(records, (1, None, "the CSV is empty"))
    if header is None:
        raise UserError(
            f"{csv_path}, row {number}: {fault}\nThe first row must be: wav_filename,wav_filesize,transcript"
        )
    text_column = next((name for name in text_columns if name in header), text_columns[-1])
    index = _columns(csv_path, header, text_column)
    return header, [
        (_row(number, fields, fault, index, len(header)), fields or []) for number, fields, fault in records
    ]


def _records(lines: list[str]) -> Iterator[tuple[int, list[str] | None, str | None]]:
    """Yield (number of the first line, fields, fault) for every record; a fault costs its first line only."""
    limit = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        start = 0
        while start < len(lines):
            first = start
            reader = csv.reader((lines[index] for index in range(first, len(lines))), strict=True)
            try:
                for fields in reader:
                    if fields:
                        yield start + 1, fields, None
                    start = first + reader.line_num
            except csv.Error as error:
                yield start + 1, None, f"its quotes do not match ({error})"
                start += 1
    finally:
        csv.field_size_limit(limit)


def _columns(csv_path: str | Path, header: list[str], text_column: str) -> dict[str, int]:
    """Places of the columns by name; that of the text is called "transcript"."""
    required = ("wav_filename", text_column)
    missing = [name for name in required if name not in header]
    if missing:
        found = ",".join(header)
        raise UserError(
            f"{csv_path}, row 1: no column {' and no column '.join(missing)}\n"
            f"  found  {_quote(found)}\n"
            "The first row must name the columns, separated by commas: wav_filename,wav_filesize,transcript"
        )
    twice = [name for name, count in Counter(header).items() if count > 1 and name in (*required, "wav_filesize")]
    if twice:
        raise UserError(f"{csv_path}, row 1: the column {twice[0]} is there twice\nRename one of the two.")
    index = {name: place for place, name in enumerate(header)}
    return {**index, "transcript": index[text_column]}


def _row(number: int, fields: list[str] | None, fault: str | None, index: dict[str, int], width: int) -> Row:
    if fields is None:
        return Row(number, fault=fault)
    if len(fields) != width:
        fault = f"it has {_count(fields, 'field')}, and the header {width}"
        return Row(number, wav_filename=fields[0], transcript=",".join(fields[1:]), fault=fault)
    wav_filename = fields[index["wav_filename"]]
    transcript = unicodedata.normalize("NFC", fields[index["transcript"]])
    speakers = (fields[index[name]] for name in SPEAKER_COLUMNS if name in index)
    size_text = fields[index["wav_filesize"]].strip() if "wav_filesize" in index else ""
    if not size_text or (size_text.isascii() and size_text.isdigit() and len(size_text) < 19):
        size = int(size_text or 0)
    else:
        size, fault = 0, f"wav_filesize is {_quote(size_text)}, not a number of bytes"
    if not wav_filename:
        fault = "wav_filename is empty"
    elif any("\0" in value for value in fields):
        fault = "it has a NUL byte"
    elif column := next((name for name, place in index.items() if holds_rows(fields[place])), ""):
        fault = _quotes_fault(column, number, fields[index[column]])
    return Row(number, wav_filename, size, transcript, next(filter(None, speakers), None), fault)


def _quotes_fault(column: str, row: int, value: str) -> str:
    last = row + len(_LINE_END.findall(value))
    return f"{column} has a line end: its quotes open in row {row} and close in row {last}"


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
    read: Callable[[str], list[Row]] = read_rows,
) -> CheckedData[SpeechSample]:
    """Read all CSVs and check every row of them, with all faults in one report.

    Args:
        csvs: paths of CSVs, or of folders with packed ones, by the name of their set: train, dev, test, metrics.
        alphabet: must have every character of every transcript.
        geometry: gives the number of frames of a clip.
        stride: frames for each that the network makes of them; see `AcousticModel.stride`.
        on_bad_row: "fail" makes an error of any fault, "drop" continues without such rows.
        cache_dir: where to keep what the headers of the files say; None: nowhere.
        console: shows the progress.
        alphabet_name: what the report calls the alphabet, such as its path.
        workers: threads that read headers; None: 8.
        read: gives the rows of a CSV.
    Returns:
        The sets in the order given, with the rejected rows and the warnings.
    Raises:
        UserError: a CSV is unusable; there are faults and `on_bad_row` is "fail"; or a CSV has no row left.
    """
    if on_bad_row not in ("fail", "drop"):
        raise ValueError(f"on_bad_row is {on_bad_row!r}")
    csvs = csvs_of_sets(csvs)
    names = _short_names([path for paths in csvs.values() for path in paths])
    rows = {path: read(path) for path in names}
    for path in names:
        if not rows[path]:
            raise UserError(f"{path}: the CSV has a header and no rows\nAdd rows, or leave the file out.")
    headers, from_cache = _read_headers(rows, cache_dir, console, workers or DEFAULT_WORKERS)

    checked: dict[str, SampleSet[SpeechSample]] = {}
    rejected: list[Rejection] = []
    for csv_path, name in names.items():
        samples = []
        for row in rows[csv_path]:
            result = _check_row(row, csv_path, name, headers, alphabet, geometry, stride)
            if isinstance(result, SpeechSample):
                samples.append(result)
            else:
                rejected.append(result)
        checked[csv_path] = SampleSet(csv_path, name, samples)

    if rejected and on_bad_row == "fail":
        raise UserError(report(rejected, sum(map(len, rows.values())), f"{alphabet_name} ({alphabet.size} characters)"))
    for csv_path, sample_set in checked.items():
        if not sample_set.samples:
            counts = _count_reasons(rejection for rejection in rejected if rejection.csv_path == csv_path)
            raise UserError(
                f"{csv_path}: no row is left of {len(rows[csv_path]):,} ({counts})\n"
                "Run with --on_bad_row fail to see the faults."
            )
    sets = {set_name: [checked[str(path)] for path in paths] for set_name, paths in csvs.items()}
    low = _warn_of_low_rates(
        [s for found in sets.get("train", []) for s in found.samples], headers, geometry.sample_rate
    )
    warnings = [*_warnings(sets), *_warn_of_copies(sets, headers), *low, *_warn_of_odd_sound(sets, headers)]
    return CheckedData(sets, rejected, warnings, from_cache)


def labels_with_repeats(labels: Sequence[object]) -> int:
    """The frames that CTC needs at least: one for each label, and a blank between two that are the same.

    >>> labels_with_repeats([8, 5, 12, 12, 15])
    6
    """
    return len(labels) + sum(first == second for first, second in itertools.pairwise(labels))


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


def audio_path(csv_path: str, wav_filename: str) -> str:
    """What `wav_filename` means: it counts from the folder of the CSV."""
    return os.path.abspath(os.path.join(os.path.dirname(csv_path), wav_filename))


def _check_row(
    row: Row,
    csv_path: str,
    csv_name: str,
    headers: Mapping[str, "_Header"],
    alphabet: Writes,
    geometry: FeatureGeometry,
    stride: int,
) -> SpeechSample | Rejection:
    def reject(code: str, reason: str) -> Rejection:
        return Rejection(csv_path, row.row, row.wav_filename, row.transcript, code, reason)

    if row.fault:
        return reject("bad_row", row.fault)
    path = audio_path(csv_path, row.wav_filename)
    header = headers[path]
    if header.fault:
        return reject(header.fault.code, header.fault.reason)
    if not row.transcript.strip():
        return reject("empty_transcript", "the transcript is empty")
    fault = _text_fault(row, alphabet)
    missing = alphabet.missing(row.transcript)
    if missing:
        assert isinstance(alphabet, Alphabet | ByteAlphabet), "classes of a task can write all that its rows have"
        listed = " ".join(map(_show_character, missing[:FAULTS_SHOWN]))
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
    if _LINE_END.search(row.transcript) and not {"\r", "\n"} & set(letters):
        return _quotes_fault("transcript", row.row, row.transcript)
    if fault := fault_of(row.transcript, letters):
        return fault
    invisible = invisible_in(row.transcript, letters)
    return f"the text has characters that nobody sees: {shown(invisible)}" if invisible else ""


@dataclass(frozen=True, slots=True)
class _Header:
    """What is known of one file: size in bytes, time of change in ns, and either its header or its fault."""

    size: int = 0
    mtime_ns: int = 0
    info: AudioInfo | None = None
    fault: AudioError | None = None

    @property
    def known(self) -> AudioInfo:
        """What the header says of a file without a fault."""
        assert self.info is not None, "a file with a fault has no samples"
        return self.info


def _read_headers(
    rows: Mapping[str, Sequence[Row]], cache_dir: Path | None, console: Console, workers: int
) -> tuple[dict[str, _Header], int]:
    """Headers by absolute path for all files of all CSVs, and how many of them the cache knew."""
    known: dict[str, _Header] = {}
    paths: dict[str, list[str]] = {}
    for csv_path, csv_rows in rows.items():
        paths[csv_path] = [audio_path(csv_path, row.wav_filename) for row in csv_rows if not row.fault]
        if cache_dir is not None:
            known.update(_load_cache(_cache_path(cache_dir, csv_path), csv_path, console))

    unique = list(dict.fromkeys(path for csv_paths in paths.values() for path in csv_paths))
    tasks = [unique[start : start + PATHS_PER_TASK] for start in range(0, len(unique), PATHS_PER_TASK)]
    headers: dict[str, _Header] = {}
    with console.progress("checking audio files", total=len(unique), unit="clips") as progress:
        executor = ThreadPoolExecutor(workers, thread_name_prefix="check")
        try:
            for task, results in zip(
                tasks,
                executor.map(lambda task: [_read_header(path, known.get(path)) for path in task], tasks),
                strict=True,
            ):
                headers.update(zip(task, results, strict=True))
                progress.update(len(task))
        finally:
            executor.shutdown(cancel_futures=True)  # Ctrl-C waits for the files in hand, not for all

    if cache_dir is not None:
        for csv_path, csv_paths in paths.items():
            if any(headers[path].info and headers[path] is not known.get(path) for path in csv_paths):
                _save_cache(_cache_path(cache_dir, csv_path), csv_path, csv_paths, headers, console)
    return headers, sum(header is known.get(path) for path, header in headers.items())


def _read_header(path: str, known: _Header | None) -> _Header:
    """`known` itself if the file still has its size and time."""
    size = mtime_ns = 0
    try:
        status = status_of(path)
        size, mtime_ns = size_of(path), status.st_mtime_ns
        if known and (known.size, known.mtime_ns) == (size, mtime_ns) and stat.S_ISREG(status.st_mode):
            return known
    except (OSError, ValueError):
        pass  # read_audio_info says why
    try:
        where = stretch_of(path)
        info = open_shard(where.shard).info(where, READER) if where else None
        return _Header(size, mtime_ns, info=info or read_audio_info(path))
    except AudioError as error:
        return _Header(size, mtime_ns, fault=error)


def _cache_path(cache_dir: Path, csv_path: str) -> Path:
    absolute = os.path.abspath(csv_path)
    key = hashlib.blake2b(absolute.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return Path(cache_dir) / f"{Path(absolute).stem}-{key}.jsonl"


def _load_cache(cache_path: Path, csv_path: str, console: Console) -> dict[str, _Header]:
    """Headers by absolute path; empty if there is no cache, or if anything about it is not as it should be."""
    try:
        first, _, body = cache_path.read_bytes().partition(b"\n")
        described = json.loads(first)
        if described != {"format": CACHE_FORMAT, "sha256": hashlib.sha256(body).hexdigest()}:
            raise ValueError("another format, or a wrong checksum")
        headers = {}
        for line in body.splitlines():
            wav_filename, note, *numbers = json.loads(line)
            if [type(value) for value in (wav_filename, note, *numbers)] != [str, str] + [int] * 5:
                raise ValueError("a line of another kind")
            size, mtime_ns, num_frames, sample_rate, channels = numbers
            if min(num_frames, sample_rate, channels) <= 0:
                raise ValueError("a line with a header that cannot be")
            info = AudioInfo(num_frames, sample_rate, channels, note)
            headers[audio_path(csv_path, wav_filename)] = _Header(size, mtime_ns, info)
        return headers
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        console.debug(f"{cache_path}: not used, and rewritten: {error}")
        return {}


def _save_cache(
    cache_path: Path, csv_path: str, paths: Iterable[str], headers: Mapping[str, _Header], console: Console
) -> None:
    """Remember the headers that could be read; faults are looked at again at each start.

    It knows nothing of alphabet, transcripts and geometry, so that no change of these can make it wrong.
    """
    folder = os.path.dirname(os.path.abspath(csv_path))
    lines = []
    for path in dict.fromkeys(paths):
        header = headers[path]
        if header.info:
            info = header.info
            # Relative to the CSV, as in it: the volume may move.
            wav_filename = os.path.relpath(path, folder)
            file = [wav_filename, info.note, header.size, header.mtime_ns]
            lines.append(json.dumps([*file, info.num_frames, info.sample_rate, info.channels]) + "\n")
    body = "".join(lines).encode("ascii")
    first = json.dumps({"format": CACHE_FORMAT, "sha256": hashlib.sha256(body).hexdigest()})
    try:
        os.makedirs(cache_path.parent, exist_ok=True)
        write_atomically(cache_path, [first.encode("ascii"), b"\n", body])
    except (OSError, UserError) as error:
        console.warn(f"The headers of the audio files cannot be kept for the next start: {error}")


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
            lines.append(f"  file        {_quote(audio_path(rejection.csv_path, rejection.wav_filename))}")
        if rejection.transcript and code in ("bad_row", "empty_transcript", "not_in_alphabet", "too_short"):
            lines.append(f"  transcript  {_quote(rejection.transcript)}")
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


def _warn_of_low_rates(train: Sequence[SpeechSample], headers: Mapping[str, "_Header"], sample_rate: int) -> list[str]:
    """Recordings leave the mel bands above half of their sample rate empty, and what is there then is rounding."""
    rates = Counter(headers[sample.path].known.sample_rate for sample in train)
    low = {rate: count for rate, count in rates.items() if rate <= sample_rate / 2}
    if sum(low.values()) <= len(train) / 2:
        return []
    rate = max(low)
    return [
        f"train: {sum(low.values()):,} of {_count(train, 'clip')} are sampled at {rate:,} Hz or less, and the model "
        f"works at {sample_rate:,} Hz: a new model with --audio_sample_rate {rate} learns more from them (docs/data.md)"
    ]


def _warn_of_copies(
    sets: Mapping[str, Sequence[SampleSet[SpeechSample]]], headers: Mapping[str, "_Header"]
) -> list[str]:
    """Recordings that are in two sets under other names; the same name is looked for in `_warnings`."""
    if len({"train", "dev", "test"} & sets.keys()) < 2:
        return []
    rows: dict[tuple[str, str], SpeechSample] = {}
    for name in ("train", "dev", "test"):
        for sample in (sample for part in sets.get(name, ()) for sample in part.samples):
            rows.setdefault((sample.path, name), sample)
    known = ((path, name, headers[path]) for path, name in rows)
    recordings = [Recording(path, one.size, one.info, name) for path, name, one in known if one.info]
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for group in find_copies(recordings, across_sets=True):
        said: dict[str, list[tuple[str, SpeechSample]]] = {}
        for one in group:
            sample = rows[one.path, one.set_name]
            said.setdefault(sample.transcript, []).append((one.set_name, sample))
        for (first_name, first), *others in said.values():
            for name, sample in others:
                if name != first_name and sample.path != first.path:
                    found.setdefault((name, first_name), []).append((sample.id, first.id))
    return [
        f"{name}: {_count(pairs, 'row')} with a recording that is in {other} under another name, such as "
        f"{' and '.join(pairs[0])}: its error rate says little about new speech"
        for (name, other), pairs in found.items()
    ]


def _warn_of_odd_sound(
    sets: Mapping[str, Sequence[SampleSet[SpeechSample]]], headers: Mapping[str, "_Header"]
) -> list[str]:
    warnings = []
    for name, parts in sets.items():
        odd: dict[str, list[str]] = {}
        for part in parts:
            for sample in part.samples:
                if note := headers[sample.path].known.note:
                    odd.setdefault(note, []).append(sample.id)
        warnings += [
            f"{name}: {ids[0]}: {note}" + (f" ({len(ids):,} such clips)" if ids[1:] else "")
            for note, ids in odd.items()
        ]
    return warnings


def _warnings(sets: Mapping[str, Sequence[SampleSet[SpeechSample]]]) -> list[str]:
    """What need not be a fault, but makes results look better or worse than they are."""
    warnings = []
    samples = {name: [sample for part in parts for sample in part.samples] for name, parts in sets.items()}
    for name, members in samples.items():
        first: dict[str, SpeechSample] = {}
        repeats = []
        for sample in members:
            if sample.path in first:
                repeats.append((sample.id, first[sample.path].id))
            first.setdefault(sample.path, sample)
        if repeats:
            warnings.append(
                f"{name}: {_count(repeats, 'row')} with a file that an earlier row of the set has, "
                f"such as {repeats[0][0]} and {repeats[0][1]}"
            )
    train = samples.get("train", [])
    paths = {sample.path: sample for sample in train}
    speakers = {sample.speaker for sample in train if sample.speaker}
    for name in ("dev", "test"):
        members = samples.get(name, [])
        shared = [sample for sample in members if sample.path in paths]
        if shared:
            warnings.append(
                f"{name}: {_count(shared, 'row')} with a file that is also in train, "
                f"such as {shared[0].id} and {paths[shared[0].path].id}: its error rate says little about new speech"
            )
        both = list(dict.fromkeys(sample.speaker for sample in members if sample.speaker in speakers))
        if both:
            warnings.append(
                f"{name}: {_count(both, 'speaker')} also in train, such as {_quote(both[0])}: "
                "its error rate says little about new speakers"
            )
    return warnings


def _count(things: Sequence, noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _show_character(character: str) -> str:
    return f"U+{ord(character):04X}" if unicodedata.combining(character) else repr(character)


def _quote(text: str) -> str:
    """Text between quotes, so that spaces at its ends show, with escapes for what is invisible."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[:TEXT_SHOWN]
    )
    return f'"{shown}"' + (f" and {len(text) - TEXT_SHOWN:,} more characters" if len(text) > TEXT_SHOWN else "")
