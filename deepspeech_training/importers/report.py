"""What came out of an import: report.json with all numbers, and report.html for people (report_page.py).

A clip that stands in several sets of the corpus counts once, but in the table of the sets.
"""

import hashlib
import json
import math
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.importers.report_page import page
from deepspeech_training.version import VERSION

LISTED = 12  # clips of each kind, speakers, examples of a reason
MOST_SOURCES = 1000  # files, or folders of files, whose counts are told
CUTS_S = (5, 10, 15, 20, 30)
MIN_BIN_S = 0.25
QUIET_DB, CLIPPED_DB = -50.0, -0.05


def write_reports(ledger, options, corpus, source: str, split: dict, outputs: dict, characters: dict) -> dict:
    """Write report.json and report.html into the output folder; returns what is in the first."""
    _collect(ledger, options)
    report = {
        "corpus": corpus.name,
        "source": source,
        "program": f"deepspeech_training {VERSION}",
        "options": _options(options),
        "split": split,
        "total": _total(ledger),
        "sets": {name: _set_summary(ledger, options, *condition) for name, condition in outputs.items()},
        "sources": _sources(ledger),
        "rejected": _rejected(ledger),
        "rejected_examples": _rejected_examples(ledger),
        "refused_entries": ledger.one("SELECT count(*) FROM entry WHERE fault != ''"),
        "notes": list(corpus.notes),
        "lengths": _lengths(ledger),
        "cuts": [_cut(ledger, seconds) for seconds in CUTS_S],
        "levels": _levels(ledger),
        "speakers": _speakers(ledger, options),
        "clips": _remarkable(ledger, options),
        "characters": {character: count for character, (count, _) in characters.items()},
        "rare_characters": {
            character: {"count": count, "example": example}
            for character, (count, example) in characters.items()
            if count < 10
        },
    }
    folder = Path(options.output_dir)
    text = json.dumps(report, ensure_ascii=False, indent=1)
    write_atomically(folder / "report.json", [text.encode("utf-8"), b"\n"])
    write_atomically(folder / "report.html", [page(report).encode("utf-8")])
    ledger.db.execute("DROP TABLE temp.kept")
    return report


def _collect(ledger, options) -> None:
    """A temporary table of the kept clips, each once."""
    ledger.db.execute("DROP TABLE IF EXISTS temp.kept")
    ledger.db.execute(
        "CREATE TEMP TABLE kept AS SELECT row.id AS id, stem, transcript, speaker, source, number, peak_db, rms_db,"
        " num_samples * 1.0 / ? AS seconds, length(transcript) * 1.0 * ? / num_samples AS pace"
        " FROM row JOIN clip ON clip.id = row.clip WHERE row.code = '' AND NOT EXISTS"
        " (SELECT 1 FROM row AS other WHERE other.clip = row.clip AND other.code = '' AND other.id < row.id)",
        (options.sample_rate, options.sample_rate),
    )


def _total(ledger) -> dict:
    clips, seconds, speakers, sentences, characters = ledger.db.execute(
        "SELECT count(*), coalesce(sum(seconds), 0), count(DISTINCT nullif(speaker, '')), count(DISTINCT transcript),"
        " coalesce(sum(length(transcript)), 0) FROM kept"
    ).fetchone()
    return {
        "clips": clips,
        "hours": round(seconds / 3600, 4),
        "speakers": speakers,
        "sentences": sentences,
        "characters": characters,
        "rows": ledger.one("SELECT count(*) FROM row"),
        "rows_rejected": ledger.one("SELECT count(*) FROM row WHERE code != ''"),
    }


def _lengths(ledger) -> dict:
    """Quantiles in seconds, and a histogram: clips by bin, the last one open."""
    count = ledger.one("SELECT count(*) FROM kept")
    places = {name: min(count - 1, int(share * count)) for name, share in QUANTILES.items()}
    in_order = ledger.db.execute("SELECT seconds FROM kept ORDER BY seconds")
    found = {place: seconds for place, (seconds,) in enumerate(in_order) if place in places.values()}
    quantiles = {name: round(found[place], 2) for name, place in places.items()}
    width = _nice(max(quantiles["99 %"] / 30, MIN_BIN_S))
    bins = math.ceil(quantiles["99 %"] / width) + 1
    counts = dict(
        ledger.db.execute(
            "SELECT min(cast(seconds / ? AS INTEGER), ?) AS bin, count(*) FROM kept GROUP BY bin", (width, bins - 1)
        )
    )
    return {"quantiles": quantiles, "bin_seconds": width, "histogram": [counts.get(place, 0) for place in range(bins)]}


QUANTILES = {"shortest": 0.0, "1 %": 0.01, "median": 0.5, "99 %": 0.99, "longest": 1.0}


def _nice(width: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, ... that is not below.

    >>> _nice(0.21), _nice(0.3)
    (0.25, 0.5)
    """
    scale = 10 ** math.floor(math.log10(width))
    return next(step * scale for step in (1, 2, 2.5, 5, 10) if step * scale >= width * 0.999)


def _cut(ledger, seconds: float) -> dict:
    clips, dropped_s = ledger.db.execute(
        "SELECT count(*), coalesce(sum(seconds), 0) FROM kept WHERE seconds > ?", (seconds,)
    ).fetchone()
    return {"max_seconds": seconds, "clips": clips, "hours": round(dropped_s / 3600, 4)}


def _levels(ledger) -> dict:
    """Clips by their mean level in bins of 2 dB, from -80 to 0 dB of full scale."""
    counts = dict(
        ledger.db.execute(
            "SELECT max(0, min(39, cast((rms_db + 80) / 2 AS INTEGER))) AS bin, count(*) FROM kept GROUP BY bin"
        )
    )
    return {
        "histogram": [counts.get(place, 0) for place in range(40)],
        "quiet": ledger.one("SELECT count(*) FROM kept WHERE rms_db < ?", QUIET_DB),
        "clipped": ledger.one("SELECT count(*) FROM kept WHERE peak_db > ?", CLIPPED_DB),
    }


def _speakers(ledger, options) -> list[dict]:
    """Those with the most audio."""
    return [
        {"speaker": name_of(speaker, options), "clips": clips, "hours": round(seconds / 3600, 4)}
        for speaker, clips, seconds in ledger.db.execute(
            "SELECT speaker, count(*), sum(seconds) AS total FROM kept WHERE speaker != '' GROUP BY speaker"
            " ORDER BY total DESC, speaker LIMIT ?",
            (LISTED,),
        )
    ]


def name_of(speaker: str, options) -> str:
    """The speaker as the CSVs have it: hashed if that was asked for."""
    if not speaker or not options.hash_speakers:
        return speaker
    return hashlib.blake2b(speaker.encode(), digest_size=16).hexdigest()


def _remarkable(ledger, options) -> dict[str, list[dict]]:
    """Clips that are worth a listen: at the ends of some order."""
    return {
        title: [
            {
                "wav_filename": f"clips/{stem}.{options.audio_format}",
                "seconds": round(seconds, 2),
                "characters_per_second": round(pace, 1),
                "rms_db": rms_db,
                "transcript": transcript[:300],
                "row": f"{source}:{number}",
            }
            for stem, seconds, pace, rms_db, transcript, source, number in ledger.db.execute(
                "SELECT stem, seconds, pace, rms_db, transcript, source, number FROM kept"
                f" ORDER BY {order}, id LIMIT {LISTED}"
            )
        ]
        for title, order in (
            ("Longest", "seconds DESC"),
            ("Fastest speech: is something missing in the audio?", "pace DESC"),
            ("Slowest speech: is something missing in the transcript?", "pace"),
            ("Quietest", "rms_db"),
        )
    }


def _rejected_examples(ledger) -> dict[str, list[dict]]:
    examples = {}
    for code in _rejected(ledger):
        examples[code] = [
            {
                "row": f"{source}:{number}",
                "audio": audio,
                "transcript": raw[:200],
                "value": value[:200],
                "reason": reason,
            }
            for source, number, audio, raw, value, reason in ledger.db.execute(
                "SELECT source, number, audio, raw, value, reason FROM row WHERE code = ? ORDER BY id LIMIT 5", (code,)
            )
        ]
    return examples


def _options(options) -> dict:
    rules = options.rules
    return {
        "sample_rate": options.sample_rate,
        "audio_format": options.audio_format,
        "min_seconds": options.min_seconds,
        "max_seconds": options.max_seconds,
        "split": options.split,
        "unique_sentences": options.unique_sentences,
        "dev_share": options.dev_share,
        "test_share": options.test_share,
        "seed": options.seed,
        "hash_speakers": options.hash_speakers,
        "language": rules.language,
        "numbers": rules.numbers,
        "lowercase": rules.lowercase,
        "normalize": rules.normalize,
        "own_validator": rules.validator is not None,
        "filter_alphabet": rules.alphabet is not None,
        "space_after_every_character": rules.space_after_every_character,
    }


def _set_summary(ledger, options, condition: str, values: tuple) -> dict:
    rows, samples, speakers = ledger.db.execute(
        "SELECT count(*), coalesce(sum(num_samples), 0), count(DISTINCT nullif(speaker, '')) FROM row"
        f" JOIN clip ON clip.id = row.clip WHERE row.code = '' AND {condition}",
        values,
    ).fetchone()
    return {"clips": rows, "hours": round(samples / options.sample_rate / 3600, 4), "speakers": speakers}


def _sources(ledger) -> dict:
    """Per file of the corpus: rows read, kept, and rejected by reason; they add up.

    Of a corpus of very many files (a text for each clip) it is per folder, as far down as MOST_SOURCES allows.
    """
    ledger.db.create_function("group_of", 2, group_of, deterministic=True)
    name = "source"
    for depth in (3, 2, 1, 0, -1):
        if ledger.one(f"SELECT count(DISTINCT {name}) FROM row") <= MOST_SOURCES:
            break
        name = f"group_of(source, {depth})"
    sources: dict[str, dict] = {}
    for source, code, count in ledger.db.execute(
        f"SELECT {name} AS name, code, count(*) FROM row GROUP BY name, code ORDER BY min(id)"
    ):
        counts = sources.setdefault(source, {"rows": 0, "kept": 0, "rejected": {}})
        counts["rows"] += count
        if code:
            counts["rejected"][code] = count
        else:
            counts["kept"] = count
    return sources


def group_of(name: str, depth: int) -> str:
    """A file by its name, or all of those that lie more than `depth` folders deep below one folder (-1: all files).

    >>> group_of("a/b/c.txt", 1), group_of("a/b.txt", 1), group_of("a/b.txt", 0), group_of("b.txt", -1)
    ('a/*', 'a/b.txt', '*', '*')
    """
    parts = name.split("/")
    return name if len(parts) <= depth + 1 else "/".join([*parts[: max(depth, 0)], "*"])


def _rejected(ledger) -> dict:
    return dict(ledger.db.execute("SELECT code, count(*) FROM row WHERE code != '' GROUP BY code ORDER BY 2 DESC, 1"))
