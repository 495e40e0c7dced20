"""Which row is for training, validation or test: the corpus's own sets, or a choice that shares no speaker."""

import hashlib

from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.importers import copies

SPLITS = ("auto", "official", "validated", "speakers")
# Conditions on a row, given the official dev and test of what was kept.
_HELD_OUT = "FROM row AS other WHERE other.set_name IN ('dev', 'test') AND other.code = ''"
NOT_HELD_OUT = (
    f"(row.speaker = '' OR row.speaker NOT IN (SELECT speaker {_HELD_OUT}))"
    f" AND row.clip NOT IN (SELECT clip {_HELD_OUT})"
)
NEW_SENTENCE = f"row.transcript NOT IN (SELECT transcript {_HELD_OUT})"
_HOURS = (
    "SELECT coalesce(sum(num_samples), 0) / 3600.0 / {rate} FROM row JOIN clip ON clip.id = row.clip"
    " WHERE row.code = ''"
)


def assign(ledger, options, console: Console) -> dict:
    """Give every kept row its part; returns what the report says of it.

    Raises:
        UserError: the split that is asked for is not in the corpus, or no row is left.
    """
    ledger.db.execute("UPDATE row SET part = '' WHERE part != ''")
    if not ledger.one("SELECT count(*) FROM row WHERE code = ''"):
        counts = ledger.db.execute("SELECT code, count(*) FROM row GROUP BY code ORDER BY 2 DESC").fetchall()
        listed = ", ".join(f"{count:,} {code}" for code, count in counts)
        example = ledger.db.execute("SELECT source, number, reason, value FROM row ORDER BY id LIMIT 1").fetchone()
        raise UserError(
            "no row of the corpus is left: " + listed + "\n  the first: {}, row {}: {} {}".format(*example) + "\n"
            "Look at the rules for transcripts (--validate_label_locale, --filter_alphabet), and at where the audio is."
        )
    sets = dict(ledger.db.execute("SELECT set_name, count(*) FROM row WHERE code = '' GROUP BY set_name"))
    kind = options.split
    if kind == "auto":
        kind = "official" if sets.get("dev") or sets.get("test") else "speakers"
    if kind == "official" and not (sets.get("train") or sets.get("dev") or sets.get("test")):
        raise UserError("--split official: the corpus has no sets train, dev and test\nTake --split speakers.")
    if kind == "validated" and not (sets.get("validated") and (sets.get("dev") or sets.get("test"))):
        raise UserError(
            "--split validated: the corpus has no set validated, or neither dev nor test\nTake --split speakers."
        )
    split = {"official": _official, "validated": _validated, "speakers": _by_speaker}[kind](
        ledger, options, console, sets
    )
    copies.keep_apart(ledger, console)
    split["kind"] = kind
    split["shared_speakers"] = _shared_speakers(ledger, console)
    ledger.commit()
    return split


def _official(ledger, options, console: Console, sets) -> dict:
    ledger.db.execute("UPDATE row SET part = set_name WHERE code = '' AND set_name IN ('train', 'dev', 'test')")
    shares = {"test": options.test_share, "dev": options.dev_share}
    lacking = {part: share for part, share in shares.items() if not sets.get(part) and share}
    if not lacking or not sets.get("train"):
        return {"says": "the corpus's own " + ", ".join(part for part in ("train", "dev", "test") if sets.get(part))}
    listed = " and no ".join(lacking)
    console.info(f"Split       the corpus has no {listed}: some speakers of its train are taken for it")
    split = _spread(ledger, options, console, "set_name = 'train'", lacking)
    return split | {"says": f"the corpus's own sets, but it has no {listed}: that is some speakers of train"}


def _validated(ledger, options, console: Console, sets) -> dict:
    """dev and test as they are; train: whatever else is validated and shares no speaker (no sentence) with them."""
    ledger.db.execute("UPDATE row SET part = set_name WHERE code = '' AND set_name IN ('dev', 'test')")
    condition = NOT_HELD_OUT + (f" AND {NEW_SENTENCE}" if options.unique_sentences else "")
    ledger.db.execute(
        "UPDATE row SET part = 'train' WHERE id IN"
        f" (SELECT id FROM row WHERE code = '' AND set_name = 'validated' AND {condition})"
    )
    before = _hours(ledger, options, "AND set_name = 'train'")
    after = _hours(ledger, options, "AND part = 'train'")
    console.info(
        f"Split       validated: train has {after:.2f} h, the official one {before:.2f} h: {after - before:+.2f} h"
    )
    return {
        "says": "the official dev and test; all other validated clips of other speakers"
        + (" and with other sentences" if options.unique_sentences else "")
        + " in train",
        "official_train_hours": before,
        "train_hours": after,
        "hours_won": after - before,
    }


def _hours(ledger, options, condition: str) -> float:
    return ledger.one(f"{_HOURS.format(rate=options.sample_rate)} {condition}")


def _by_speaker(ledger, options, console: Console, sets) -> dict:
    pool = "set_name != 'other'" if sets.keys() - {"other"} else "1"
    return _spread(ledger, options, console, pool, {"test": options.test_share, "dev": options.dev_share})


def _spread(ledger, options, console: Console, pool: str, shares: dict[str, float]) -> dict:
    """Whole speakers, in an order that the seed shuffles; clips without a speaker count as one each."""
    pool = f"code = '' AND {pool}"
    audio = "char(1) || row.audio"
    if ledger.one("SELECT 1 FROM temp.twin LIMIT 1"):  # copies count as one recording
        audio = (
            "char(1) || coalesce((SELECT twin.copy || ' ' || row.transcript FROM temp.twin"
            " JOIN clip ON clip.id = twin.clip WHERE twin.clip = row.clip AND clip.start_s < 0), row.audio)"
        )
    speakers = ledger.one(f"SELECT count(DISTINCT speaker) FROM row WHERE {pool} AND speaker != ''")
    says = "by speaker"
    unit = f"CASE row.speaker WHEN '' THEN {audio} ELSE row.speaker END"
    if speakers < 2:
        unit, says = audio, "by clip, for the corpus names no speakers"
        if speakers == 1:
            says = "by clip, for the corpus has one speaker"
        console.warn(f"The split is {says}: who is trained on may be tested on as well")
    elif ledger.one(f"SELECT 1 FROM row WHERE {pool} AND speaker = '' LIMIT 1"):
        console.warn("Some clips name no speaker; each of them counts as a speaker of its own in the split")
    ledger.db.create_function("shuffled", 1, _shuffler(options.seed), deterministic=True)
    ledger.db.execute("DROP TABLE IF EXISTS temp.unit")
    # One row for each clip, wherever it stands (validated and train of Common Voice have it both).
    ledger.db.execute(
        "CREATE TEMP TABLE unit AS SELECT name, shuffled(name) AS place, sum(num_samples) AS samples, 'train' AS part"
        f" FROM (SELECT {unit} AS name, num_samples FROM row JOIN clip ON clip.id = row.clip"
        f" WHERE row.{pool} GROUP BY row.clip) GROUP BY name ORDER BY place"
    )
    ledger.db.execute("CREATE UNIQUE INDEX temp.unit_name ON unit (name)")
    units, samples = ledger.db.execute("SELECT count(*), sum(samples) FROM unit").fetchone()
    for part, share in shares.items():
        _fill(ledger, part, share * samples, units)
    # Of a clip that stands in several sets, one row is taken.
    ledger.db.execute(
        f"UPDATE row SET part = (SELECT unit.part FROM unit WHERE unit.name = {unit})"
        f" WHERE id IN (SELECT min(id) FROM row WHERE {pool} GROUP BY clip)"
    )
    ledger.db.execute("DROP TABLE temp.unit")
    for part in shares:
        if not ledger.one("SELECT 1 FROM row WHERE part = ? LIMIT 1", part):
            console.warn(f"{part}.csv is empty: {speakers} speakers are too few for three sets")
    return {"says": f"{says}, seed {options.seed}", "speakers": speakers}


def _fill(ledger, part: str, wanted: float, units: int) -> None:
    """Put units into a part, in the shuffled order, as long as they fit; if none does, the smallest one.

    At least one unit stays for train, and dev is served before the test where there are two.
    """
    if not wanted or units < (3 if part == "test" else 2):
        return
    total = 0
    taken = []
    for rowid, samples in ledger.db.execute("SELECT rowid, samples FROM unit WHERE part = 'train' ORDER BY place"):
        if total + samples <= 1.05 * wanted:
            total += samples
            taken.append((part, rowid))
        if total >= 0.95 * wanted:
            break
    if not taken:
        smallest = ledger.one("SELECT rowid FROM unit WHERE part = 'train' ORDER BY samples, place LIMIT 1")
        taken = [(part, smallest)]
    ledger.db.executemany("UPDATE unit SET part = ? WHERE rowid = ?", taken)


def _shuffler(seed: int):
    def place(name: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()

    return place


def _shared_speakers(ledger, console: Console) -> int:
    shared = ledger.one(
        "SELECT count(*) FROM (SELECT speaker FROM row WHERE part != '' AND speaker != ''"
        " GROUP BY speaker HAVING count(DISTINCT part) > 1)"
    )
    if shared:
        console.warn(f"{shared:,} speakers are in more than one of train, dev and test")
    return shared
