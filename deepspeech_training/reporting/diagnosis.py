"""What a run's figures and its network's answers say about a model, in plain words: what it is, why, and what to do.

The thresholds are rules of thumb, each a constant below; a diagnosis always names the figures that led to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePath
from typing import Any

RISE_OF_OVERFITTING = 0.10  # dev loss above its lowest, over the last epochs
EPOCHS_OF_OVERFITTING = 3  # since the lowest dev loss: fewer may be chance
STILL_FALLING = 0.02  # of the loss, per epoch: then more epochs are worth their time
STARTED_TO_LEARN = 0.25  # of the first epoch's loss: below it, a falling train loss alone says little
FLAT = 0.01  # a loss that falls by less than this per epoch
POOR_CER = 0.5  # every second character is wrong: no model to ship
ALL_BLANK_CER = 0.9995
FEW_UPDATES = 300  # a DeepSpeech network writes its first characters after some hundreds of updates
EARLY_STOP_TOO_SOON = 10  # epochs
DEAD_LAYER = 0.99  # share of units that never answer
MANY_DEAD = 0.5
SATURATED = 0.5  # share of answers at --relu_clip
STUCK_GATES = 0.95  # sound models have had up to 0.8: the gates of an LSTM are switches


@dataclass(frozen=True)
class Epoch:
    """Figures after an epoch; None where there is none (no dev set, not finite).

    Args:
        number: from 1, as a person counts.
        train_loss, dev_loss: means over clips.
        wer, cer: of the dev sets.
    """

    number: int
    train_loss: float | None = None
    dev_loss: float | None = None
    wer: float | None = None
    cer: float | None = None

    @classmethod
    def of_history(cls, figures: Mapping[str, Any]) -> "Epoch":
        """From an entry of a run's history, over all of its dev sets together."""
        dev = [found for found in figures["dev"] if found["loss"] is not None and found["clips"]]
        clips = sum(found["clips"] for found in dev)

        def mean(key: str) -> float | None:
            return sum(found[key] * (found["clips"] / clips) for found in dev) if clips else None

        return cls(figures["epoch"] + 1, figures["train_loss"], mean("loss"), mean("wer"), mean("cer"))


@dataclass(frozen=True)
class Answers:
    """How a network answers to a clip of speech and to silence.

    Args:
        blank_share: frames of the speech where the blank is the likeliest.
        text: what it writes for the speech.
        difference: the largest difference of a log probability between speech and silence, at the same frame.
        dead: for each dense layer, the share of units that are 0 in every frame of both.
        saturated: for each dense layer the share of answers at --relu_clip; for "lstm" that of gates stuck at 0 or 1.
        is_synthetic: the clip is the synthetic one of this package, not one of the model's own kind.
    """

    blank_share: float
    text: str
    difference: float
    dead: Mapping[str, float] = field(default_factory=dict)
    saturated: Mapping[str, float] = field(default_factory=dict)
    is_synthetic: bool = True


@dataclass(frozen=True)
class Evidence:
    """What is known of a model; everything but `not_finite` may be unknown.

    Args:
        not_finite: weights that are NaN or infinite.
        epoch: how many epochs the weights have seen; None where nothing is known of the training.
        epochs: --epochs.
        stopped: why the run ended, None if it has not.
        is_best: the weights are those of the best checkpoint.
        best_by: what decides that.
        history: every epoch of the run that is known, later ones than `epoch` too.
        updates: of the weights.
        early_stop: --early_stop was on.
        answers: see there; None if the network was not run.
        average_of: the checkpoints whose mean the weights are; all but `not_finite` and `answers` is of the last one.
    """

    not_finite: int = 0
    epoch: int | None = None
    epochs: int | None = None
    stopped: str | None = None
    is_best: bool = False
    best_by: str = "cer"
    history: Sequence[Epoch] = ()
    updates: int | None = None
    early_stop: bool = False
    answers: Answers | None = None
    average_of: Sequence[str] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that was found; `level` is "bad" or "note"."""

    code: str
    level: str
    what: str
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """`verdict` is one word of VERDICTS: the code of the gravest finding, "unknown" or "healthy"."""

    verdict: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return self.verdict == "healthy"

    def as_dict(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "healthy": self.healthy, "findings": [asdict(f) for f in self.findings]}

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"Diagnosis: {VERDICTS[self.verdict]}"]
        for finding in self.findings:
            lines.append(f"- {finding.what}")
            lines += [
                f"  {label} {text}" for label, text in (("Why:", finding.reason), ("Do:", finding.advice)) if text
            ]
        return lines


# From the gravest on.
VERDICTS = {
    "broken": "BROKEN: the weights are not numbers any more",
    "collapsed": "COLLAPSED: the network does not listen, or writes nothing",
    "overfitted": "OVERFITTED: it knows its training clips by heart and others badly",
    "undertrained": "UNDERTRAINED: it was saved before it had learnt what it could",
    "weak": "WEAK: training has ended, and it is wrong too often",
    "unknown": "UNKNOWN: how well it writes clips that it has not heard was not measured",
    "healthy": "HEALTHY: nothing found that speaks against it",
}
UNMEASURED = {"no_dev", "average"}  # notes that leave no more than this to say


def diagnose(evidence: Evidence) -> Diagnosis:
    """Say what is wrong with a model, or that nothing was found.

    >>> falling = [Epoch(n, 90 - 10 * n, 95 - 10 * n, 1.0, 0.9 - 0.1 * n) for n in (1, 2, 3)]
    >>> diagnose(Evidence(epoch=3, epochs=75, history=falling, updates=60)).verdict
    'undertrained'
    """
    findings = _found_of_an_average(evidence) if evidence.average_of else _found(evidence, RULES)
    bad = [finding.code for finding in findings if finding.level == "bad"]
    otherwise = "unknown" if any(finding.code in UNMEASURED for finding in findings) else "healthy"
    return Diagnosis(next((word for word in VERDICTS if word in bad), otherwise), tuple(findings))


def _found(evidence: Evidence, rules: Sequence[Callable]) -> list[Finding]:
    findings: list[Finding] = []
    for rule in rules:
        findings += rule(evidence, findings)
    return findings


def _found_of_an_average(evidence: Evidence) -> list[Finding]:
    """What the weights themselves show; what the figures show is of the last one of the checkpoints, so only noted."""
    count, last = len(evidence.average_of), str(evidence.average_of[-1])
    of_weights = _found(replace(evidence, history=()), (_broken, _collapsed, _units))
    of_last = _found(
        replace(evidence, not_finite=0, answers=None, is_best=PurePath(last).name.startswith("best-")),
        (_collapsed, _overfitted, _undertrained, _weak),
    )
    average = Finding(
        "average",
        "note",
        f"it is the average of {count} checkpoint{'' if count == 1 else 's'}: no loss or error rate was measured on it",
        advice="test it: DeepSpeech.py --checkpoint_dir FOLDER --test_files test.csv",
    )
    notes = [
        replace(
            finding,
            level="note",
            what=f"of its last checkpoint, {last}: {finding.what}",
            advice="train on in the folder of that run, then average again: no run goes on in the folder of an average"
            if finding.code == "undertrained"
            else finding.advice,
        )
        for finding in of_last
    ]
    return [*of_weights, average, *notes]


def fall_per_epoch(values: Sequence[float]) -> float | None:
    """By which share a loss falls in an epoch, from the means of the last epochs and those before them.

    >>> fall_per_epoch([8.0, 4.0]), fall_per_epoch([5.0]), fall_per_epoch([4.0] * 6)
    (0.5, None, 0.0)
    """
    count = min(3, len(values) // 2)
    if count == 0:
        return None
    last, before = sum(values[-count:]) / count, sum(values[-2 * count : -count]) / count
    return 1 - max(last / before, 0.0) ** (1 / count) if before > 0 else 0.0


# --- the rules ---------------------------------------------------------------------------------------------------


def _broken(evidence: Evidence, _before: list[Finding]) -> list[Finding]:
    if not evidence.not_finite:
        return []
    return [
        Finding(
            "broken",
            "bad",
            f"{evidence.not_finite:,} weights are NaN or infinite",
            "the training has diverged, or the file was changed after it was saved",
            "use an earlier checkpoint; train with a lower --learning_rate or with --max_grad_norm 5",
        )
    ]


def _collapsed(evidence: Evidence, found: list[Finding]) -> list[Finding]:
    if found:
        return []
    answers, here = evidence.answers, _here(evidence)
    dead = [layer for layer, share in answers.dead.items() if share >= DEAD_LAYER] if answers else []
    advice = "start anew (--load_train init) with a lower --learning_rate, and with --max_grad_norm 5"
    if answers is not None and answers.difference < 1e-3:
        why = f"all units of {', '.join(dead)} are dead" if dead else "its answers hardly depend on its input"
        return [
            Finding(
                "collapsed",
                "bad",
                "the network gives the same answer to speech and to silence",
                f"{why}: no log probability differs by more than {answers.difference:.1g}; such a network comes of "
                "steps that were too large",
                advice,
            )
        ]
    blank_text = "all-blank output: it writes nothing for any dev clip (CER 1)"
    if here is not None and _is_all_blank(here):
        if _learnt_long_enough(evidence) and (_fall(evidence) or 0.0) < FLAT:
            reason = f"after {evidence.epoch} epochs and {evidence.updates or 0:,} updates the loss has stopped falling"
            return [Finding("collapsed", "bad", blank_text, reason, advice)]
        return []
    if here is None and answers is not None and answers.blank_share == 1.0 and evidence.epoch is None:
        what = "a synthetic sentence" if answers.is_synthetic else "the clip"
        return [
            Finding(
                "collapsed",
                "bad",
                f"all-blank output: it writes nothing for {what}",
                "the blank is the likeliest in every frame, as when training was too short or collapsed",
                "try a recording of what it was trained for with --clip" if answers.is_synthetic else advice,
            )
        ]
    return []


def _overfitted(evidence: Evidence, found: list[Finding]) -> list[Finding]:
    with_dev = [epoch for epoch in evidence.history if epoch.dev_loss is not None]
    if _is_grave(found) or len(with_dev) <= EPOCHS_OF_OVERFITTING or evidence.epoch is None:
        return []
    lowest = min(with_dev, key=lambda epoch: epoch.dev_loss)
    since = [epoch for epoch in with_dev if epoch.number > lowest.number]
    if len(since) < EPOCHS_OF_OVERFITTING:
        return []
    later = _mean([epoch.dev_loss for epoch in since[-EPOCHS_OF_OVERFITTING:]])
    rise = later / lowest.dev_loss - 1 if lowest.dev_loss > 0 else 0.0
    train_falls = None not in (lowest.train_loss, since[-1].train_loss) and since[-1].train_loss < lowest.train_loss
    if rise < RISE_OF_OVERFITTING or not train_falls:
        return []
    reason = (
        f"dev loss {lowest.dev_loss:.3g} in epoch {lowest.number}, {since[-1].dev_loss:.3g} in epoch "
        f"{since[-1].number} ({rise:+.0%}), while the train loss fell from {lowest.train_loss:.3g} to "
        f"{since[-1].train_loss:.3g}"
    )
    here = _here(evidence)
    good_enough = (
        evidence.is_best
        and here is not None
        and here.dev_loss is not None
        and here.dev_loss <= lowest.dev_loss * (1 + RISE_OF_OVERFITTING)
        and (here.cer is None or here.cer < POOR_CER)
    )
    if good_enough:
        what = f"the run overfits: its dev loss rises since epoch {lowest.number}; this is the best, which was kept"
        return [Finding("overfitted", "note", what, reason, "use this one; more epochs do not help")]
    kept = "the best is kept, and this is it" if evidence.is_best else "the best is kept: use it instead of this one"
    return [
        Finding(
            "overfitted",
            "bad",
            f"the dev loss rises since epoch {lowest.number}: overfitted; {kept}",
            reason,
            "more or other training data helps most; then --dropout_rate 0.2 to 0.4, a smaller --n_hidden, "
            "--early_stop",
        )
    ]


def _undertrained(evidence: Evidence, found: list[Finding]) -> list[Finding]:
    if _is_grave(found) or evidence.epoch is None:
        return []
    here, fall, epochs = _here(evidence), _fall(evidence), evidence.epochs
    last = max([evidence.epoch, *(epoch.number for epoch in evidence.history)])
    place = f"epoch {evidence.epoch}" + (f" of {epochs}" if epochs else "")
    reasons = []
    if here is not None and _is_all_blank(here):
        reasons.append("it still writes nothing (CER 1), as every network does in its first epochs")
    elif here is not None and here.cer is not None and here.cer >= POOR_CER:
        reasons.append(f"CER {here.cer:.2f}: too many of the characters are wrong")
    if fall is not None and fall >= STILL_FALLING:
        reasons.append(f"the {_loss_name(evidence)} loss still falls, by {fall:.0%} per epoch")
    if evidence.updates is not None and evidence.updates < FEW_UPDATES:
        reasons.append(f"{evidence.updates:,} updates of the weights are few")
    reason = "; ".join(reasons)
    settled = fall is not None and fall < STILL_FALLING and here is not None and (here.cer or 0.0) < POOR_CER
    if evidence.epoch == 0:
        return [_under("saved within the first epoch", "no epoch was finished", "go on: the same command")]
    if evidence.stopped is None and epochs and last < epochs:
        what = f"saved at {place}, " + (
            "when the run had not finished" if evidence.average_of else "and the run has not finished"
        )
        if settled:
            return [Finding("undertrained", "note", what, "the loss hardly falls any more", "the same command goes on")]
        return [_under(what, reason, "go on: the same command continues where it stopped")]
    if evidence.early_stop and last < min(epochs or last, EARLY_STOP_TOO_SOON) and reasons:
        return [
            _under(
                f"early stopping ended the run at epoch {last} of {epochs}",
                reason,
                "give it a chance: --min_epochs 20 and a larger --es_epochs, or a smaller --es_min_delta; the same "
                "command then goes on",
            )
        ]
    still_learning = fall is not None and fall >= STILL_FALLING and _has_much_to_learn(evidence, here)
    if still_learning:
        return [
            _under(
                f"saved at {place}: all epochs are done, and the loss was still falling",
                reason,
                f"go on: --epochs {2 * (epochs or last)}",
            )
        ]
    if here is not None and _is_all_blank(here):
        return [_under(f"saved at {place} with an all-blank output", reason, f"go on: --epochs {4 * (epochs or last)}")]
    return []


def _under(what: str, reason: str, advice: str) -> Finding:
    return Finding("undertrained", "bad", f"{what}: undertrained", reason, advice)


def _weak(evidence: Evidence, found: list[Finding]) -> list[Finding]:
    here = _here(evidence)
    if _is_grave(found) or here is None or here.cer is None or here.cer < POOR_CER:
        return []
    return [
        Finding(
            "weak",
            "bad",
            f"CER {here.cer:.2f}, WER {here.wer:.2f}: it is wrong too often to be used",
            "the loss does not fall any more, nor has it risen much",
            "more training data; a larger --n_hidden; check that the transcripts say what the clips say",
        )
    ]


def _units(evidence: Evidence, _before: list[Finding]) -> list[Finding]:
    notes = []
    answers = evidence.answers
    for layer, share in (answers.dead if answers else {}).items():
        if share >= MANY_DEAD:
            notes.append(Finding("dead_units", "note", f"{share:.0%} of the units of {layer} never answer"))
    for layer, share in (answers.saturated if answers else {}).items():
        if layer == "lstm" and share >= STUCK_GATES:
            notes.append(Finding("saturation", "note", f"{share:.0%} of the gates of the LSTM are stuck at 0 or 1"))
        elif layer != "lstm" and share >= SATURATED:
            notes.append(Finding("saturation", "note", f"{share:.0%} of the answers of {layer} are at --relu_clip"))
    return notes


def _gaps(evidence: Evidence, _before: list[Finding]) -> list[Finding]:
    notes = []
    if evidence.epoch is None:
        few = "" if evidence.updates is None else f"; {evidence.updates:,} updates were made"
        notes.append(
            Finding(
                "no_history",
                "note",
                f"the file does not say how its training went{few}",
                "the verdict rests on the weights and on one answer alone",
                "measure its WER on test clips: bin/evaluate_export for an export",
            )
        )
    if evidence.epoch and not any(epoch.dev_loss is not None for epoch in evidence.history):
        few = evidence.updates is not None and evidence.updates < FEW_UPDATES
        notes.append(
            Finding(
                "no_dev",
                "note",
                "there is no dev set: what it writes for clips that it has not heard, and whether it "
                "has overfitted, nobody can tell",
                f"{evidence.updates:,} updates of the weights are few" if few else "",
                "give --dev_files, clips of speakers that are not in --train_files",
            )
        )
    return notes


RULES = (_broken, _collapsed, _overfitted, _undertrained, _weak, _units, _gaps)


# --- what the rules ask ------------------------------------------------------------------------------------------


def _here(evidence: Evidence) -> Epoch | None:
    """The epoch whose end the weights are of."""
    return next((epoch for epoch in evidence.history if epoch.number == evidence.epoch), None)


def _is_grave(found: list[Finding]) -> bool:
    return any(finding.level == "bad" for finding in found)


def _is_all_blank(epoch: Epoch) -> bool:
    return None not in (epoch.cer, epoch.wer) and min(epoch.cer, epoch.wer) >= ALL_BLANK_CER and epoch.cer <= 1.0


def _learnt_long_enough(evidence: Evidence) -> bool:
    return (evidence.updates or 0) >= FEW_UPDATES and (evidence.epoch or 0) >= EARLY_STOP_TOO_SOON


def _fall(evidence: Evidence) -> float | None:
    """How fast the loss falls at the end of the run: the dev loss, without one the train loss."""
    return fall_per_epoch(_losses(evidence))


def _losses(evidence: Evidence) -> list[float]:
    dev = [epoch.dev_loss for epoch in evidence.history if epoch.dev_loss is not None]
    return dev or [epoch.train_loss for epoch in evidence.history if epoch.train_loss is not None]


def _loss_name(evidence: Evidence) -> str:
    return "dev" if any(epoch.dev_loss is not None for epoch in evidence.history) else "train"


def _has_much_to_learn(evidence: Evidence, here: Epoch | None) -> bool:
    """A loss near 0 may fall by half in every epoch without a better model."""
    if here is not None and here.cer is not None:
        return here.cer > 0.05
    losses = _losses(evidence)
    return losses[-1] > STARTED_TO_LEARN * max(losses)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
