"""The engine of all importers: rows of a corpus in, CSVs, audio and a report out.

    importer's rows -> CorpusRow -> transcript (transcripts.py) -> clip (clips.py) -> set (splits.py) -> train.csv

All that it knows is in the ledger, so memory stays flat, a second run takes seconds, and a run that was killed ends as
one that was not. No row is lost: it is in a CSV or, with its reason, in rejected.csv.
"""

import contextlib
import csv
import errno
import fcntl
import io
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.data.sample import REASON_CODES, labels_with_repeats
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.importers import copies, splits
from deepspeech_training.importers.clip_jobs import AUDIO_FORMATS, ClipJob
from deepspeech_training.importers.converting import Converters
from deepspeech_training.importers.ledger import WHOLE, Ledger
from deepspeech_training.importers.report import name_of, write_reports
from deepspeech_training.importers.source import NotSafe, check_paths, open_source, printable, safe_name
from deepspeech_training.importers.transcripts import Refusal, TranscriptRules
from deepspeech_training.machine.resources import usable_cores

CORPORA_DIR = Path("persistent-data") / "corpora"
REJECTION_CODES = (
    *REASON_CODES,
    "label_refused",
    "unsafe_name",
    "duplicate",
    "below_min_seconds",
    "above_max_seconds",
)
PARTS = ("train", "dev", "test")
COLUMNS = ["wav_filename", "wav_filesize", "transcript", "client_id"]
REJECTED_COLUMNS = ["source", "row", "wav_filename", "transcript", "reason_code", "value", "reason"]
# A clip may stand in several sets of a corpus; it counts once.
FIRST_OF_CLIP = (
    "NOT EXISTS (SELECT 1 FROM row AS other WHERE other.clip = row.clip AND other.code = '' AND other.id < row.id)"
)
RARE = 10  # a character with fewer occurrences is shown with an example
TEXT_KEPT = 1000  # characters of a refused text in rejected.csv
NOTES_SHOWN = 10  # of clips that were converted, though something is odd


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """One row of a corpus, as its importer read it.

    Args:
        source: the file that it stands in, and `number`, its row or line there.
        audio: name of the recording inside the corpus.
        transcript: as it stands there.
        set_name: "train", "dev", "test", or another that becomes a CSV of that name; "" is split by speaker.
        speaker: "" where the corpus does not say.
        start_s, end_s: the part of the recording that is meant; None: all of it.
        name: of the clip in the output; "" takes that of the recording.
        fault: why the row cannot be used.
    """

    source: str
    number: int
    audio: str
    transcript: str
    set_name: str = ""
    speaker: str = ""
    start_s: float | None = None
    end_s: float | None = None
    name: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Corpus:
    """What the engine has to know of a corpus.

    Args:
        name: of the default output folder.
        rows: source -> its rows, in a fixed order.
        is_text: tells the names of its texts from those of recordings (`source.ends_with`).
        notes: what of the corpus is not taken, and how much; filled while the rows are read.
        lengths: source -> (recording, seconds) where the corpus says how long a recording is: a shorter one is cut.
    """

    name: str
    rows: Callable[[object], Iterator[CorpusRow]]
    is_text: Callable[[str], bool]
    notes: list[str] = field(default_factory=list)
    lengths: Callable[[object], Iterable[tuple[str, float]]] = lambda source: ()


@dataclass(frozen=True)
class Options:
    """What a person can choose; the flags are in command.py.

    Raises:
        FlagError: a value cannot be.
    """

    output_dir: Path
    rules: TranscriptRules = field(default_factory=TranscriptRules)
    sample_rate: int = 16000
    audio_format: str = "wav"
    min_seconds: float = 0.0
    max_seconds: float = 0.0
    split: str = "auto"
    unique_sentences: bool = False
    dev_share: float = 0.1
    test_share: float = 0.1
    seed: int = 4568
    hash_speakers: bool = False
    workers: int = 0

    def __post_init__(self):
        if self.audio_format not in AUDIO_FORMATS:
            raise FlagError(f"--audio_format {self.audio_format}: it must be one of {', '.join(AUDIO_FORMATS)}")
        if self.split not in splits.SPLITS:
            raise FlagError(f"--split {self.split}: it must be one of {', '.join(splits.SPLITS)}")
        if min(self.min_seconds, self.max_seconds) < 0 or 0 < self.max_seconds <= self.min_seconds:
            raise FlagError("--min_seconds and --max_seconds must be 0 or more, and the second above the first")
        if min(self.dev_share, self.test_share) < 0 or self.dev_share + self.test_share >= 1:
            raise FlagError("--dev_share and --test_share must be 0 or more, and together less than 1")
        if self.workers < 0:
            raise FlagError("--workers must be 0 (all cores) or more")
        FeatureGeometry(sample_rate=self.sample_rate)

    def clip_name(self, stem: str) -> str:
        """A clip's name in the CSVs."""
        return f"clips/{stem}.{self.audio_format}"

    def clip_path(self, stem: str) -> str:
        return f"{self.output_dir}/{self.clip_name(stem)}"


def format_corpus(corpus: Corpus, source_paths: Sequence[str | Path], options: Options, console: Console) -> dict:
    """Import a corpus; returns the report that is also in report.json.

    Raises:
        UserError: the source cannot be used, the output cannot be written, or no row is left.
    """
    check_paths(source_paths)
    work_dir = options.output_dir / ".import"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        with (
            Converters(options.workers or usable_cores()) as converters,
            _only_one(options.output_dir, work_dir),
            Ledger(work_dir / "ledger.sqlite") as ledger,
        ):
            _tidy(options.output_dir, work_dir)
            _forget_other_audio(ledger, options)
            source = open_source(
                source_paths, work_dir=work_dir, ledger=ledger, is_text=corpus.is_text, console=console
            )
            _read_rows(corpus, source, ledger, options, console)
            _convert(corpus, source, ledger, converters, options, console)
            copies.find(ledger, converters, options, console)
            converters.close()
            _judge_clips(ledger, options)
            copies.take_one_format(ledger)
            split = splits.assign(ledger, options, console)
            outputs = _write_csvs(ledger, options, split)
            _write_rejected(ledger, options)
            characters = _write_alphabet(ledger, options)
            report = write_reports(ledger, options, corpus, source.label, split, outputs, characters)
            for folder in ("spool", "parts"):
                shutil.rmtree(work_dir / folder, ignore_errors=True)
            return report
    except sqlite3.OperationalError as error:
        raise UserError(f"{work_dir / 'ledger.sqlite'}: {error}\nIs the disk full, or the folder read-only?") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{options.output_dir}: no space left on the disk\n"
                "Free some space, or take --audio_format flac (about half); then the same command resumes."
            ) from error
        raise UserError(f"{error.filename or options.output_dir}: {error.strerror or error}") from error


@contextlib.contextmanager
def _only_one(output_dir: Path, work_dir: Path) -> Iterator[None]:
    with open(work_dir / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{output_dir}: another import is writing into this folder") from None
        yield


def _tidy(output_dir: Path, work_dir: Path) -> None:
    """Delete the half files of a run that was killed."""
    shutil.rmtree(work_dir / "parts", ignore_errors=True)
    (work_dir / "parts").mkdir()
    for part in output_dir.glob(".*.part"):
        part.unlink(missing_ok=True)


def _forget_other_audio(ledger: Ledger, options: Options) -> None:
    """Clips of another rate or format are made again, the old ones deleted; faults of another decoder do not count."""
    wanted = f"{options.sample_rate} {options.audio_format}"
    known = ledger.recall("audio")
    if known not in (None, wanted):
        suffix = known.split()[1]
        for page in ledger.pages("SELECT id, stem FROM clip WHERE id > ? ORDER BY id LIMIT ?"):
            for _, stem in page:
                (options.output_dir / "clips" / f"{stem}.{suffix}").unlink(missing_ok=True)
        ledger.db.execute("UPDATE clip SET fingerprint = ''")
    ledger.remember("audio", wanted)
    if ledger.recall("decoder") != _decoder_of_faults(ledger):
        ledger.db.execute("UPDATE clip SET fingerprint = '' WHERE code != ''")
        ledger.remember("decoder", "")  # until `_convert` is through
    ledger.commit()


def _decoder_of_faults(ledger: Ledger) -> str:
    """What decodes here, if there are clips that could not be decoded; else "", for to load it takes 0.1 s."""
    if not ledger.one("SELECT 1 FROM clip WHERE code != '' AND fingerprint != '' LIMIT 1"):
        return ""
    from deepspeech_training.importers.clips import decoder

    return decoder()


def _read_rows(corpus: Corpus, source, ledger: Ledger, options: Options, console: Console) -> None:
    """All rows of the corpus into the ledger, with their transcripts or the reason why there is none."""
    corpus.notes.clear()

    is_elsewhere = ledger.recall("source") not in (None, source.label)

    def rows() -> Iterator[tuple]:
        for number, row in enumerate(corpus.rows(source), start=1):
            if number == 1 and is_elsewhere:
                _give_up_clips(source, ledger)
            yield _ledger_row(row, source, ledger, options)
            if number % 100_000 == 0:
                console.info(f"{number:,} rows read")

    count = ledger.replace_rows(rows())
    corpus.notes.extend(dict.fromkeys(source.faults))
    if not count:
        raise UserError(f"{source.label}: there are no rows of the corpus {corpus.name} in it")
    ledger.db.execute(
        "UPDATE row SET code = 'duplicate', reason = 'the same clip is in this set already'"
        " WHERE code = '' AND id NOT IN (SELECT min(id) FROM row WHERE code = '' GROUP BY set_name, clip)"
    )
    for stem in ledger.forget_given_up():
        Path(options.clip_path(stem)).unlink(missing_ok=True)
    ledger.remember("source", source.label)
    ledger.commit()
    console.info(f"Rows        {count:,} read from {source.label}")


def _give_up_clips(source, ledger: Ledger) -> None:
    """The corpus may have moved, or be another one: clips of recordings that it lacks stay only if a row names them."""
    for page in ledger.pages("SELECT id, audio FROM clip WHERE id > ? ORDER BY id LIMIT ?"):
        ledger.give_up(clip for clip, audio in page if not source.has(audio))


def _ledger_row(row: CorpusRow, source, ledger: Ledger, options: Options) -> tuple:
    fault, clip, audio = ("", "", ""), None, printable(row.audio)
    try:
        audio = safe_name(source.inside(row.audio) if row.audio.startswith("/") else row.audio)
        name = safe_name(audio if row.name in ("", row.audio) or row.name.startswith("/") else row.name)
    except NotSafe as error:
        where = f": it is not below {source.label}" if row.audio.startswith("/") else ""
        fault = ("unsafe_name", f"{error}{where}", audio[:TEXT_KEPT])
    set_name = row.set_name
    if set_name and (not re.fullmatch("[a-z][a-z0-9_-]{0,39}", set_name) or set_name in ("rejected", "train-all")):
        fault, set_name = ("bad_row", "no name for a set", printable(set_name[:40])), ""
    if row.fault:
        fault = ("bad_row", row.fault, "")
    result = options.rules(row.transcript) if not fault[0] else ""
    if isinstance(result, Refusal):
        fault = (result.code, result.reason, result.value)
    if not fault[0]:
        clip = ledger.clip_id(audio, *_segment(row), _stem(row, name))
    transcript = "" if fault[0] else result
    return (
        printable(row.source),
        row.number,
        set_name,
        clip,
        audio[:TEXT_KEPT],
        printable(row.transcript[:TEXT_KEPT]),
        transcript,
        printable(row.speaker),
        *(map(printable, fault) if fault[0] else fault),
    )


def _segment(row: CorpusRow) -> tuple[float, float]:
    return (WHOLE, WHOLE) if row.start_s is None or row.end_s is None else (row.start_s, row.end_s)


def _stem(row: CorpusRow, name: str) -> str:
    """The name of a clip without its end: that of the recording, with the segment in ms if it is one."""
    stem = os.path.splitext(name)[0]
    if row.start_s is not None and row.end_s is not None:
        stem += f"-{round(row.start_s * 1000):08d}-{round(row.end_s * 1000):08d}"
    return stem


def _convert(
    corpus: Corpus, source, ledger: Ledger, converters: Converters, options: Options, console: Console
) -> None:
    """Make every clip that a row needs and that is not there as it should be."""
    total, done = _mark_needed(source, ledger, options)
    console.info(f"Clips       {total:,} to convert, {done:,} done before")
    ledger.commit()
    if total:
        ledger.expect_lengths(corpus.lengths(source))
        notes: list[tuple[int, str]] = []
        num_notes = 0
        with console.progress("converting", total=total + done, start=done, unit="clips") as progress:
            for results in converters.convert_all(_jobs(source, ledger, options)):
                ledger.db.executemany(
                    "UPDATE clip SET num_samples = ?, num_bytes = ?, peak_db = ?, rms_db = ?, print = ?, code = ?,"
                    " reason = ?, fingerprint = pending WHERE id = ?",
                    [
                        (r.num_samples, r.num_bytes, r.peak_db, r.rms_db, r.fingerprint, r.code, r.reason, r.key)
                        for r in results
                    ],
                )
                ledger.commit(at_most_every_s=1.0)
                odd = [(result.key, result.note) for result in results if result.note]
                num_notes += len(odd)
                notes += odd[: NOTES_SHOWN - len(notes)]
                progress.update(len(results))
        for key, note in notes:
            console.warn(f"{ledger.one('SELECT audio FROM clip WHERE id = ?', key)}: {note}")
        if num_notes > NOTES_SHOWN:
            console.warn(f"... and {num_notes - NOTES_SHOWN:,} more clips with something odd")
    ledger.db.execute(
        "UPDATE clip SET code = 'missing_file', reason = 'the file does not exist', fingerprint = '' WHERE needed = 1"
    )
    ledger.remember("decoder", _decoder_of_faults(ledger))
    ledger.commit()


def _mark_needed(source, ledger: Ledger, options: Options) -> tuple[int, int]:
    """Set `needed` of every clip that has to be made to 1, of others to 0; returns how many those are, and how many of
    the clips that rows name are there already."""
    ledger.db.execute("UPDATE clip SET needed = 0, pending = '' WHERE needed != 0 OR pending != ''")
    total = done = 0
    query = (
        "SELECT id, audio, stem, fingerprint, num_bytes, code FROM clip WHERE EXISTS"
        " (SELECT 1 FROM row WHERE row.clip = clip.id AND row.code = '') AND id > ? ORDER BY id LIMIT ?"
    )
    for page in ledger.pages(query):
        marks = []
        for key, audio, stem, fingerprint, num_bytes, code in page:
            now = source.fingerprint(audio)
            is_done = now and now == fingerprint
            if is_done and not code:
                is_done = _size(options.clip_path(stem)) == num_bytes
            if is_done:
                done += 1
            else:
                marks.append((now, key))
        ledger.db.executemany("UPDATE clip SET needed = 1, pending = ? WHERE id = ?", marks)
        total += len(marks)
    return total, done


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _jobs(source, ledger: Ledger, options: Options) -> Iterator[tuple[list[ClipJob], Path | None]]:
    folders = set()
    parts_dir = str(options.output_dir / ".import" / "parts")
    for recording in source.recordings(ledger):
        jobs = []
        for key, start_s, end_s, stem, expected_s in ledger.db.execute(
            "SELECT id, start_s, end_s, stem, expected_s FROM clip WHERE audio = ? AND needed = 2 ORDER BY id",
            (recording.name,),
        ).fetchall():
            target = Path(options.clip_path(stem))
            if target.parent not in folders:
                target.parent.mkdir(parents=True, exist_ok=True)
                folders.add(target.parent)
            start, end = (None, None) if start_s == WHOLE else (start_s, end_s)
            jobs.append(
                ClipJob(
                    key,
                    str(recording.path),
                    str(target),
                    parts_dir,
                    options.sample_rate,
                    options.audio_format,
                    start,
                    end,
                    expected_s,
                )
            )
        yield jobs, recording.path if recording.temporary else None


def _judge_clips(ledger: Ledger, options: Options) -> None:
    """Refuse the rows whose clips could not be made, or are too short or too long."""
    geometry = FeatureGeometry(sample_rate=options.sample_rate)
    query = (
        "SELECT row.id, row.transcript, clip.num_samples, clip.code, clip.reason, clip.audio FROM row"
        " JOIN clip ON clip.id = row.clip WHERE row.code = '' AND row.id > ? ORDER BY row.id LIMIT ?"
    )
    for page in ledger.pages(query):
        faults = []
        for row, transcript, num_samples, code, reason, audio in page:
            seconds = num_samples / options.sample_rate
            if code == "missing_file":
                reason = ledger.entry_fault(audio) or reason
            if not code:
                code, reason = _length_fault(transcript, num_samples, geometry, options)
            if code:
                faults.append((code, reason, f"{seconds:.2f} s" if num_samples else audio, row))
        ledger.reject(faults)
    ledger.commit()


def _length_fault(transcript: str, num_samples: int, geometry: FeatureGeometry, options: Options) -> tuple[str, str]:
    # No network makes more frames than it is given; one that makes fewer is looked at when it is trained.
    frames, needed = geometry.num_frames(num_samples), labels_with_repeats(transcript)
    seconds = num_samples / options.sample_rate
    if frames < needed:
        return "too_short", f"{frames} frames, and the transcript needs {needed}"
    if seconds < options.min_seconds:
        return "below_min_seconds", f"shorter than --min_seconds {options.min_seconds:g}"
    if options.max_seconds and seconds > options.max_seconds:
        return "above_max_seconds", f"longer than --max_seconds {options.max_seconds:g}"
    return "", ""


def _write_csvs(ledger: Ledger, options: Options, split: dict) -> dict[str, tuple[str, tuple]]:
    """Write every CSV; returns by file name the condition of its rows, for the report."""
    outputs: dict[str, tuple[str, tuple]] = {f"{part}.csv": ("part = ?", (part,)) for part in PARTS}
    sets = [name for (name,) in ledger.db.execute("SELECT DISTINCT set_name FROM row WHERE code = '' ORDER BY 1")]
    for name in sets:
        if name and name not in PARTS:
            outputs[f"{name}.csv"] = ("set_name = ?", (name,))
    if split["kind"] != "speakers" and "validated" in sets and {"dev", "test"} & set(sets):
        outputs["train-all.csv"] = (f"set_name = 'validated' AND {splits.NOT_HELD_OUT} AND {splits.NEW_SENTENCE}", ())
    for name, (condition, values) in outputs.items():
        write_atomically(options.output_dir / name, _csv_chunks(ledger, options, condition, values))
    for stale in set((ledger.recall("outputs") or "").split("\n")) - {"", *outputs}:
        (options.output_dir / stale).unlink(missing_ok=True)
    ledger.remember("outputs", "\n".join(outputs))
    ledger.commit()
    return outputs


def _csv_chunks(ledger: Ledger, options: Options, condition: str, values: tuple) -> Iterator[bytes]:
    yield _csv_bytes([COLUMNS])
    query = (
        "SELECT row.id, stem, num_bytes, transcript, speaker FROM row JOIN clip ON clip.id = row.clip"
        f" WHERE row.code = '' AND {condition} AND row.id > ? ORDER BY row.id LIMIT ?"
    )
    for page in ledger.pages(query, *values):
        yield _csv_bytes(
            (options.clip_name(stem), num_bytes, transcript, name_of(speaker, options))
            for _, stem, num_bytes, transcript, speaker in page
        )


def _csv_bytes(rows: Iterable[Iterable], *, quoting=csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(rows)
    return text.getvalue().encode("utf-8")


def _write_rejected(ledger: Ledger, options: Options) -> None:
    def chunks() -> Iterator[bytes]:
        yield _csv_bytes([REJECTED_COLUMNS])
        query = (
            "SELECT id, source, number, audio, raw, code, value, reason FROM row"
            " WHERE code != '' AND id > ? ORDER BY id LIMIT ?"
        )
        for page in ledger.pages(query):
            # Quoted, since a lone \r would end the row for a reader.
            yield _csv_bytes((row[1:] for row in page), quoting=csv.QUOTE_NONNUMERIC)
        refused = ledger.db.execute("SELECT archive, name, fault FROM entry WHERE fault != '' ORDER BY archive, name")
        yield from (
            _csv_bytes([(archive, "", name, "", "unsafe_name", name, fault)], quoting=csv.QUOTE_NONNUMERIC)
            for archive, name, fault in refused
        )

    write_atomically(options.output_dir / "rejected.csv", chunks())


def _write_alphabet(ledger: Ledger, options: Options) -> dict[str, tuple[int, str]]:
    """Write alphabet.txt; returns how often each character occurs in all kept clips, and where first."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    query = (
        f"SELECT id, transcript, source, number FROM row WHERE code = '' AND {FIRST_OF_CLIP}"
        " AND id > ? ORDER BY id LIMIT ?"
    )
    for page in ledger.pages(query):
        for _, transcript, source, number in page:
            counts.update(transcript)
            for character in set(transcript) - examples.keys():
                examples[character] = f"{source}:{number} {transcript[:80]}"
    characters = {
        character: (counts[character], examples[character]) for character in sorted(counts, key=_alphabet_order)
    }
    if options.rules.alphabet is None:
        write_atomically(options.output_dir / "alphabet.txt", [_alphabet_text(characters).encode("utf-8")])
    else:
        write_atomically(options.output_dir / "alphabet.txt", [options.rules.alphabet.to_text().encode("utf-8")])
    return characters


def _alphabet_order(character: str) -> tuple[int, str]:
    """The space, letters by code point, the rest: the order of DeepSpeech's English alphabet."""
    return (0 if character == " " else 1 if character.isalpha() else 2, character)


def _alphabet_text(characters: Mapping[str, tuple[int, str]]) -> str:
    lines = [
        "# The characters of all kept transcripts; a model has one label for each, in this order.",
        "# To leave one out, delete its line and import again with --filter_alphabet and this file.",
    ]
    for character, (count, example) in characters.items():
        if count < RARE:
            lines.append(f"# rare: {character!r} (U+{ord(character):04X}) {count} times, as in {example}")
    return "\n".join(lines) + "\n" + (Alphabet(tuple(characters)).to_text() if characters else "")
