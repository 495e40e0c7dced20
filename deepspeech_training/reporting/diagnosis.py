"""What a run's figures and its network's answers say about a model, in plain words: what it is, why, and what to do.

What is said always names the figures that led to it.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from deepspeech_training.reporting.evidence import DEAD_LAYER, Answers, Evidence

MANY_DEAD = 0.5  # share of units that never answer
SATURATED = 0.5  # share of answers at --relu_clip
STUCK_GATES = 0.95  # sound models have had up to 0.8: the gates of an LSTM are switches


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    code: str
    level: Literal["bad", "note"]
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

    @property
    def advice(self) -> str:
        """What to do about the gravest finding; empty for a healthy model."""
        return next((finding.advice for finding in self.findings if finding.level == "bad"), "")

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


VERDICTS = {
    "broken": "BROKEN: the weights are not numbers any more",
    "collapsed": "COLLAPSED: the network does not listen, or writes nothing",
    "overfitted": "OVERFITTED: it has memorised its training clips and does badly on others",
    "undertrained": "UNDERTRAINED: it was saved before it had learnt what it could",
    "weak": "WEAK: training has ended, and it is wrong too often",
    "unknown": "UNKNOWN: how well it writes clips that it has not heard was not measured",
    "healthy": "HEALTHY: nothing found that speaks against it",
}
UNMEASURED = {"no_dev", "average"}  # notes that leave no more than this to say


def diagnose(evidence: Evidence) -> Diagnosis:
    """Say what is wrong with a model, or that nothing was found.

    >>> from deepspeech_training.reporting.history import Epoch
    >>> falling = [Epoch(n, 90 - 10 * n, 95 - 10 * n, {"wer": 1.0, "cer": 0.9 - 0.1 * n}) for n in (1, 2, 3)]
    >>> diagnose(Evidence(epoch=3, epochs=75, history=falling, updates=60)).verdict
    'undertrained'
    """
    findings = _found_of_an_average(evidence) if evidence.average_of else _found(evidence)
    fault = next((finding.code for finding in findings if finding.level == "bad"), None)
    otherwise = "unknown" if any(finding.code in UNMEASURED for finding in findings) else "healthy"
    return Diagnosis(fault or otherwise, tuple(findings))


def _found(evidence: Evidence) -> list[Finding]:
    return [*_judged(evidence), *_units(evidence.answers), *_gaps(evidence)]


def _found_of_an_average(evidence: Evidence) -> list[Finding]:
    """What the weights themselves show; what the figures show is of the last one of the checkpoints, so only noted."""
    count, last = len(evidence.average_of), str(evidence.average_of[-1])
    of_weights = _judged(replace(evidence, history=()), codes=("broken", "collapsed"))
    of_last = _judged(replace(evidence, not_finite=0, answers=None, is_best=PurePath(last).name.startswith("best-")))
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
            advice="train on in the folder of that run, then average again: no run resumes in the folder of an average"
            if finding.code == "undertrained"
            else finding.advice,
        )
        for finding in of_last
    ]
    return [*of_weights, *_units(evidence.answers), average, *notes]


def _judged(evidence: Evidence, *, codes: Collection[str] = VERDICTS) -> list[Finding]:
    """What the rules of these codes find."""
    found: dict[str, Finding] = {}
    for rule in RULES:
        if rule.code in codes and rule.code not in found and rule.applies(evidence):
            found[rule.code] = Finding(rule.code, rule.level, *rule.words(evidence))
            if rule.level == "bad":
                break
    return list(found.values())


# --- the rules ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """When something is found, and what is said of it: what, why, and what to do."""

    code: str
    level: Literal["bad", "note"]
    applies: Callable[[Evidence], bool]
    words: Callable[[Evidence], tuple[str, str, str]]


def _why_deaf(it: Evidence) -> str:
    assert it.answers is not None
    dead = [layer for layer, share in it.answers.dead.items() if share >= DEAD_LAYER]
    why = f"all units of {', '.join(dead)} are dead" if dead else "its answers hardly depend on its input"
    return (
        f"{why}: no log probability differs by more than {it.answers.difference:.1g}; such a network comes of steps "
        "that were too large"
    )


def _unfinished(it: Evidence) -> str:
    return "when the run had not finished" if it.average_of else "and the run has not finished"


def _rates(it: Evidence) -> str:
    """Of all figures, the decisive one first."""
    figures = sorted(it.judged_by, key=lambda figure: figure != it.figure)
    return ", ".join(f"{figure.label} {figure.text(it.value(figure), digits=2)}" for figure in figures)


def _blank_answer(it: Evidence) -> tuple[str, str, str]:
    is_synthetic = it.answers is not None and it.answers.is_synthetic
    return (
        f"all-blank output: it writes nothing for {'a synthetic sentence' if is_synthetic else 'the clip'}",
        "the blank is the likeliest in every frame, as when training was too short or collapsed",
        "try a recording of what it was trained for with --clip" if is_synthetic else START_ANEW,
    )


START_ANEW = "start over (--load_train init) with a lower --learning_rate, and with --max_grad_norm 5"
# In order of precedence: of each code the first rule that applies is what is found, and below a bad one nothing more.
RULES = (
    Rule(
        "broken",
        "bad",
        lambda it: it.not_finite > 0,
        lambda it: (
            f"{it.not_finite:,} weights are NaN or infinite",
            "the training has diverged, or the file was changed after it was saved",
            "use an earlier checkpoint; train with a lower --learning_rate or with --max_grad_norm 5",
        ),
    ),
    Rule(
        "collapsed",
        "bad",
        Evidence.is_deaf,
        lambda it: ("the network gives the same answer to speech and to silence", _why_deaf(it), START_ANEW),
    ),
    Rule(
        "collapsed",
        "bad",
        lambda it: it.writes_nothing() and it.learnt_long_enough() and it.is_flat(),
        lambda it: (
            f"all-blank output: it writes nothing for any dev clip ({it.empty_rate})",
            f"after {it.epoch} epochs and {it.updates:,} updates the loss has stopped falling",
            START_ANEW,
        ),
    ),
    Rule("collapsed", "bad", Evidence.answers_nothing, _blank_answer),
    Rule(
        "overfitted",
        "note",
        Evidence.was_kept_in_time,
        lambda it: (
            f"the run overfits: its dev loss rises since epoch {it.lowest_epoch}; this is the best, which was kept",
            str(it.rise),
            "use this one; more epochs do not help",
        ),
    ),
    Rule(
        "overfitted",
        "bad",
        lambda it: it.rise is not None,
        lambda it: (
            f"the dev loss rises since epoch {it.lowest_epoch}: overfitted; the best is kept"
            + (", and this is it" if it.is_best else ": use it instead of this one"),
            str(it.rise),
            f"more or other training data helps most; then --dropout_rate 0.2 to 0.4, a smaller --{it.size_flag}, "
            "--early_stop",
        ),
    ),
    Rule(
        "undertrained",
        "bad",
        lambda it: it.epoch == 0,
        lambda it: (
            "saved within the first epoch: undertrained",
            "no epoch was finished",
            "resume: the same command",
        ),
    ),
    Rule(
        "undertrained",
        "note",
        lambda it: it.is_unfinished() and it.is_settled(),
        lambda it: (
            f"saved at {it.place}, {_unfinished(it)}",
            "the loss hardly falls any more",
            "resume: the same command",
        ),
    ),
    Rule(
        "undertrained",
        "bad",
        Evidence.is_unfinished,
        lambda it: (
            f"saved at {it.place}, {_unfinished(it)}: undertrained",
            "; ".join(it.signs),
            "resume: the same command",
        ),
    ),
    Rule(
        "undertrained",
        "bad",
        Evidence.stopped_too_soon,
        lambda it: (
            f"early stopping ended the run at epoch {it.last_epoch} of {it.all_epochs}: undertrained",
            "; ".join(it.signs),
            "resume: the same command with --min_epochs 20 and a larger --es_epochs, or a smaller --es_min_delta",
        ),
    ),
    Rule(
        "undertrained",
        "bad",
        lambda it: it.epoch is not None and it.still_falls() and it.has_much_to_learn(),
        lambda it: (
            f"saved at {it.place}: all epochs are done, and the loss was still falling: undertrained",
            "; ".join(it.signs),
            f"resume: the same command with --epochs {2 * it.all_epochs}",
        ),
    ),
    Rule(
        "undertrained",
        "bad",
        Evidence.writes_nothing,
        lambda it: (
            f"saved at {it.place} with an all-blank output: undertrained",
            "; ".join(it.signs),
            f"resume: the same command with --epochs {4 * it.all_epochs}",
        ),
    ),
    Rule(
        "weak",
        "bad",
        Evidence.is_poor,
        lambda it: (
            f"{_rates(it)}: it is wrong too often to be used",
            "the loss does not fall any more, nor has it risen much",
            f"more training data; a larger --{it.size_flag}; check that the transcripts say what the clips say",
        ),
    ),
)


# --- what is noted whatever else is found --------------------------------------------------------------------------


def _units(answers: Answers | None) -> list[Finding]:
    if answers is None:
        return []
    notes = [
        Finding("dead_units", "note", f"{share:.0%} of the units of {layer} never answer")
        for layer, share in answers.dead.items()
        if share >= MANY_DEAD
    ]
    for layer, share in answers.saturated.items():
        if layer not in answers.dead and share >= STUCK_GATES:
            notes.append(Finding("saturation", "note", f"{share:.0%} of the gates of {layer} are stuck at 0 or 1"))
        elif layer in answers.dead and share >= SATURATED:
            notes.append(Finding("saturation", "note", f"{share:.0%} of the answers of {layer} are at their limit"))
    return notes


def _gaps(evidence: Evidence) -> list[Finding]:
    if evidence.epoch is None:
        few = "" if evidence.updates is None else f"; {evidence.updates:,} updates were made"
        return [
            Finding(
                "no_history",
                "note",
                f"the file does not say how its training went{few}",
                "the verdict rests on the weights and on one answer alone",
                "measure its WER on test clips: `deepspeech evaluate` for an export",
            )
        ]
    if evidence.epoch and not evidence.has_dev:
        return [
            Finding(
                "no_dev",
                "note",
                "there is no dev set: what it writes for clips that it has not heard, and whether it "
                "has overfitted, nobody can tell",
                f"{evidence.updates:,} updates of the weights are few" if evidence.has_few_updates() else "",
                "give --dev_files, clips of speakers that are not in --train_files",
            )
        ]
    return []
