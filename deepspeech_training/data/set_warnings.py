"""What need not be a fault of a corpus, but makes results look better or worse than they are.

All of it is found in the columns of the tables: no list of all clips is made.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from deepspeech_training.data.copies import SAMPLE_RATE as RATE_TO_COMPARE
from deepspeech_training.data.copies import Recording, find_copies
from deepspeech_training.data.rows import count, quote
from deepspeech_training.data.sample_list import Joined
from deepspeech_training.data.speech_sample import SampleTable, SpeechSample

Tables = Mapping[str, Sequence[SampleTable]]  # by the name of their set


def warnings_of(tables: Tables, sample_rate: int, copies_found: Sequence[str]) -> list[str]:
    """Lines for a person on what is odd about sets, with a row or two that show it.

    Args:
        sample_rate: that the model works at.
        copies_found: what `copies` has found.
    """
    sets = {name: _Set(parts) for name, parts in tables.items()}
    return [
        *_repeats_and_speakers(sets),
        *copies_found,
        *_low_rates(tables.get("train", ()), sample_rate),
        *_odd_sound(tables),
    ]


class _Set:
    """The tables of a set together."""

    def __init__(self, parts: Sequence[SampleTable]):
        self.parts, self.samples = parts, Joined(parts)
        self.paths = self.column("path")
        self.speakers = list(dict.fromkeys(name for part in parts for name in part.speakers))

    def column(self, name: str) -> np.ndarray:
        return np.concatenate([part.column(name) for part in self.parts]) if self.parts else np.zeros(0, np.uint64)

    def id(self, place: int) -> str:
        return str(self.samples[place].id)


def _repeats_and_speakers(sets: Mapping[str, _Set]) -> list[str]:
    warnings = []
    for name, found in sets.items():
        order = np.argsort(found.paths, kind="stable")
        again = order[1:][found.paths[order][1:] == found.paths[order][:-1]]
        if len(again):
            later = int(again.min())
            first = int(np.flatnonzero(found.paths == found.paths[later])[0])
            warnings.append(
                f"{name}: {count(again.tolist(), 'row')} with a file that an earlier row of the set has, "
                f"such as {found.id(later)} and {found.id(first)}"
            )
    train = sets.get("train")
    for name in ("dev", "test"):
        if train is None or name not in sets:
            continue
        found = sets[name]
        shared = np.flatnonzero(np.isin(found.paths, train.paths))
        if len(shared):
            there = int(np.flatnonzero(train.paths == found.paths[shared[0]])[-1])
            warnings.append(
                f"{name}: {count(shared.tolist(), 'row')} with a file that is also in train, "
                f"such as {found.id(int(shared[0]))} and {train.id(there)}: its error rate says little about new speech"
            )
        of_train = set(train.speakers)
        both = [speaker for speaker in found.speakers if speaker in of_train]
        if both:
            warnings.append(
                f"{name}: {count(both, 'speaker')} also in train, such as {quote(both[0])}: "
                "its error rate says little about new speakers"
            )
    return warnings


def copies(tables: Tables) -> list[str]:
    """Recordings that are in two sets under other names, among those of the same length; some may be decoded for it."""
    known = {name: _Set(tables[name]) for name in ("train", "dev", "test") if name in tables}
    if len(known) < 2:
        return []
    lengths = {name: _lengths(found) for name, found in known.items()}
    each = [np.unique(one) for one in lengths.values()]
    values, counts = np.unique(np.concatenate(each), return_counts=True)
    in_two = values[counts > 1]
    rows: dict[tuple[str, str], SpeechSample] = {}
    recordings = []
    for name, found in known.items():
        for place in np.flatnonzero(np.isin(lengths[name], in_two)).tolist():
            sample = found.samples[place]
            if (sample.path, name) in rows:
                continue
            rows[sample.path, name] = sample
            part = int(np.searchsorted(found.samples.starts, place, side="right")) - 1
            table, row = found.parts[part], place - int(found.samples.starts[part])
            size = int(table.column("file_size")[row])
            recordings.append(Recording(sample.path, size, table.info(row), name))
    together: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for group in find_copies(recordings, across_sets=True):
        said: dict[str, list[tuple[str, SpeechSample]]] = {}
        for one in group:
            sample = rows[one.path, one.set_name]
            said.setdefault(sample.transcript, []).append((one.set_name, sample))
        for (first_name, first), *others in said.values():
            for name, sample in others:
                if name != first_name and sample.path != first.path:
                    together.setdefault((name, first_name), []).append((sample.id, first.id))
    return [
        f"{name}: {count(pairs, 'row')} with a recording that is in {other} under another name, such as "
        f"{' and '.join(pairs[0])}: its error rate says little about new speech"
        for (name, other), pairs in together.items()
    ]


def _lengths(found: _Set) -> np.ndarray:
    """Samples at the rate at which recordings are compared, as `copies` counts them."""
    frames, rates = found.column("num_frames"), found.column("sample_rate").astype(np.int64)
    return (2 * frames * RATE_TO_COMPARE + rates) // np.maximum(2 * rates, 1)


def _clips(number: int) -> str:
    return f"{number:,} clip{'' if number == 1 else 's'}"


def _low_rates(train: Sequence[SampleTable], sample_rate: int) -> list[str]:
    """Recordings leave the mel bands above half of their sample rate empty, and what is there then is rounding."""
    if not train:
        return []
    rates = np.concatenate([table.column("sample_rate") for table in train])
    low = rates[rates <= sample_rate / 2]
    if len(low) <= len(rates) / 2:
        return []
    rate = int(low.max())
    return [
        f"train: {len(low):,} of {_clips(len(rates))} are sampled at {rate:,} Hz or less, and the model "
        f"works at {sample_rate:,} Hz: a new model with --audio_sample_rate {rate} learns more from them (docs/data.md)"
    ]


def _odd_sound(tables: Tables) -> list[str]:
    warnings = []
    for name, parts in tables.items():
        first: dict[str, str] = {}
        counts: dict[str, int] = {}
        for table in parts:
            notes = table.column("note")
            for number, note in enumerate(table.notes, start=1):
                places = np.flatnonzero(notes == number)
                first.setdefault(note, table[int(places[0])].id)
                counts[note] = counts.get(note, 0) + len(places)
        warnings += [
            f"{name}: {first[note]}: {note}" + (f" ({number:,} such clips)" if number > 1 else "")
            for note, number in counts.items()
        ]
    return warnings
