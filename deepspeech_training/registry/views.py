"""What `deepspeech models` says for a person: the list, a version's card, a comparison."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from deepspeech_training.checkpoints.inspection_lines import not_default
from deepspeech_training.errors import UserError
from deepspeech_training.registry.bootstrap import LEAST_UNITS
from deepspeech_training.registry.compare import Comparison
from deepspeech_training.registry.store import MODEL_FILE, DamagedModel, Registry, Version
from deepspeech_training.reporting.diagnosis import VERDICTS
from deepspeech_training.reporting.events import SetSummary
from deepspeech_training.reporting.messages import duration, size
from deepspeech_training.runtime.profile import Profile

CHANGES_SHOWN = 10  # of each kind
UNREADABLE = "the card cannot be read: its fields are not those of this program"


def as_json(registry: Registry, version: Version) -> dict[str, Any]:
    """The card, and what became of the version since."""
    state = registry.state(version.name)
    history = [vars(event) for event in state.history if event.version == version.number]
    return {**version.card(), "promoted": state.promoted == version.number, "history": history}


def listed(registry: Registry) -> Iterator[str]:
    """A line for each version, by model; a star marks the one that is served."""
    names = registry.names()
    if not names:
        yield f"{registry.folder}: no model is registered; deepspeech models register EXPORT_DIR"
        return
    width = max(len(name) for name in names) + 10
    yield f"  {'model':<{width}} {'registered':<16} {'size':>9}  {'WER (95 %)':<24} {'clips':>6}  test set"
    for name in names:
        state = registry.state(name)
        for version in registry.versions(name):
            star = "*" if version.number == state.promoted else " "
            yield f"{star} {version!s:<{width}} {_row(version)}"
        if state.promoted is None:
            yield f"  {name}: no version is promoted: deepspeech models promote {name}/VERSION"


def _row(version: Version) -> str:
    try:
        card = version.card()
        start = f"{_clock(card['registered_at'])} {size(card['files'][MODEL_FILE]['bytes']):>9}"
        if not card["tests"]:
            return f"{start}  {'not tested':<24}"
        test = card["tests"][0]
        more = f" and {len(card['tests']) - 1} more" if len(card["tests"]) > 1 else ""
        return f"{start}  {_rate(test['wer']):<24} {test['clips']:>6,}  {test['csv']}{more}"
    except DamagedModel as error:
        return str(error).splitlines()[0]
    except (KeyError, TypeError, ValueError, AttributeError):
        return UNREADABLE


def shown(registry: Registry, version: Version) -> list[str]:
    """The card in words.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return [*_card_lines(registry, version, version.card())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{version.folder}: {UNREADABLE} ({error!r})") from error


def _card_lines(registry: Registry, version: Version, card: Mapping[str, Any]) -> Iterator[str]:
    state = registry.state(version.name)
    promoted = "promoted" if state.promoted == version.number else "not promoted"
    yield f"{version}: {promoted}; {version.folder}"
    for event in state.history:
        if event.version == version.number:
            yield f"  {_clock(event.at)}  {event.what}" + (f": {event.why}" if event.why else "")
    yield f"Registered {_clock(card['registered_at'])} by deepspeech_training {card['program_version']}"
    model = card["model"]
    yield (
        f"Model      {size(card['files'][MODEL_FILE]['bytes'])}, {model['parameters']:,} weights"
        f"{', ' + model['weights'] if model['weights'] else ''}, {model['features']['sample_rate']} Hz, "
        f"{len(model['alphabet'])} {'bytes' if model['alphabet_of_bytes'] else 'characters'}"
    )
    yield f"Scorer     {card['scorer'] or 'none: it is decoded greedily'}"
    for name, value in card["exported"].items():
        yield f"  {name}: {value}"
    for data in card["data"]:
        found = SetSummary.from_json(data)
        speakers = "" if found.speakers is None else f" {found.speakers:,} speakers"
        yield f"Data       {found.set:<8}{found.amount}{speakers}  {found.csv}"
    yield from _training_lines(card)
    for test in card["tests"]:
        speakers = f", {test['speakers']:,} speakers" if test["speakers"] else ""
        yield (
            f"Test       WER {_rate(test['wer'])}, CER {_rate(test['cer'])} on {test['clips']:,} clips{speakers}: "
            f"{test['csv']} (95 %, drawn: {test['drawn']})"
        )
    if profile := card.get("profile"):
        yield f"Profile    {_profile(Profile.from_json(profile))}"
    for kind, parity in card["parity"].items():
        difference = parity["greatest_probability_difference"]["from_audio"]
        yield f"Parity     {kind:<8} differs from the checkpoint by {difference:.1e} at most, WER {parity['wer']:.4f}"
    yield from _diagnosis_lines(card["diagnosis"])
    for name, entry in card["files"].items():
        yield f"File       {entry['sha256'][:16]}  {size(entry['bytes']):>9}  {name}"


def _training_lines(card: Mapping[str, Any]) -> Iterator[str]:
    training = card["training"]
    if not training:
        yield "Trained    not known: the checkpoint was not there (--checkpoint_dir)"
        return
    yield f"Checkpoint {card['checkpoint']}"
    if training.get("epoch") is not None:
        yield f"Trained    {training['epoch']} epochs, {training['step']:,} steps, {duration(training['seconds'])}"
    if given := not_default(training.get("flags", {})):
        yield f"Flags      {' '.join(given)}"


def _diagnosis_lines(diagnosis: Mapping[str, Any]) -> Iterator[str]:
    yield f"Diagnosis  {VERDICTS[diagnosis['verdict']]}"
    for finding in diagnosis["findings"]:
        yield f"  - {finding['what']}"


def compared(found: Comparison) -> Iterator[str]:
    """The comparison in words."""
    drawn = f"{found.wer.units:,} {found.drawn}"
    yield f"{found.clips:,} clips of {', '.join(found.csvs)}; intervals of 95 %, of draws of {drawn}"
    yield f"{'':<24} {'WER':<28} {'CER':<28} {'model':>9} {'scorer':>9}  real-time factor, one core"
    for letter, side in (("A", found.a), ("B", found.b)):
        scorer = size(side.scorer_bytes) if side.scorer_bytes else "none"
        figures = f"{side.wer!s:<28} {side.cer!s:<28} {size(side.file_bytes):>9} {scorer:>9}"
        yield f"{letter} {side.version!s:<22} {figures}  {side.real_time_factor:.4f}"
    yield f"B minus A: WER {found.wer}; CER {found.cer}"
    yield _conclusion(found)
    worse = [change for change in found.changes if change.errors_b > change.errors_a]
    better = [change for change in reversed(found.changes) if change.errors_b < change.errors_a]
    same = len(found.changes) - len(worse) - len(better)
    yield (
        f"{len(found.changes):,} of {found.clips:,} clips changed: {len(better):,} better in B, {len(worse):,} worse, "
        f"{same:,} as wrong as before"
    )
    for title, changes in (("Worse in B", worse), ("Better in B", better)):
        for change in changes[:CHANGES_SHOWN]:
            yield f"{title}: {change.errors_a} -> {change.errors_b} errors, wav: {change.wav_filename}"
            yield f'  - src: "{change.reference}"'
            yield f'  - A:   "{change.a}"'
            yield f'  - B:   "{change.b}"'
        if len(changes) > CHANGES_SHOWN:
            yield f"{title}: {len(changes) - CHANGES_SHOWN:,} more; --json lists them"


def _conclusion(found: Comparison) -> str:
    if found.wer.units < LEAST_UNITS:
        return f"{found.wer.units} {found.drawn} are too few to say whether that is chance."
    if not found.wer.is_certain:
        return f"The difference of the WER may be chance; B made fewer errors in {found.wer.better:.0%} of the draws."
    better, worse = ("B", "A") if found.wer.value < 0 else ("A", "B")
    return f"{better} is better than {worse}: more than chance makes of these clips."


def _rate(rate: Mapping[str, float]) -> str:
    return f"{rate['value']:.4f} ({rate['low']:.4f} to {rate['high']:.4f})"


def _profile(profile: Profile) -> str:
    """What a service compares with, in medians."""
    middles = {name: profile.middle(name) for name in ("seconds", "level_dbfs", "snr_db", "empty")}
    shown = {name: 0.0 if value is None else value for name, value in middles.items()}
    return (
        f"{profile.utterances:,} utterances of the test set: {shown['seconds']:.1f} s, {shown['level_dbfs']:.0f} dBFS, "
        f"{shown['snr_db']:.0f} dB above the noise, {shown['empty']:.1%} without words"
    )


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
