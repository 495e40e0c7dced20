import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.config.groups import EarlyStopFlags, OptimizerFlags, PlateauFlags
from deepspeech_training.reporting.figures import CER, LOSS, WER, Figure
from deepspeech_training.training.schedule import Schedule, ScheduleState

LOSSES = st.lists(st.floats(0, 100) | st.sampled_from([5.0, 4.95, 4.9, 4.0]), max_size=40)
SCHEDULES = st.builds(
    Schedule,
    early_stop=st.builds(
        EarlyStopFlags,
        early_stop=st.booleans(),
        es_epochs=st.integers(1, 6),
        es_min_delta=st.sampled_from([0.0, 0.05, 1.0]),
    ),
    plateau=st.builds(PlateauFlags, plateau_epochs=st.integers(1, 5)),
    reduces_rate=st.booleans(),
)


def deepspeech(losses, schedule):
    """The lines of DeepSpeech 0.9.3's train(), in their order: what it does after each epoch."""
    best_dev_loss, epochs_without_improvement = float("inf"), 0
    done = []
    for dev_loss in losses:
        saved = reduced = False
        if dev_loss > best_dev_loss - schedule.early_stop.es_min_delta:
            epochs_without_improvement += 1
        else:
            epochs_without_improvement = 0
        if dev_loss < best_dev_loss:
            best_dev_loss = dev_loss
            saved = True
        if schedule.early_stop.early_stop and epochs_without_improvement == schedule.early_stop.es_epochs:
            done.append((saved, reduced, True))
            break
        if (
            schedule.reduces_rate
            and epochs_without_improvement > 0
            and epochs_without_improvement % schedule.plateau.plateau_epochs == 0
        ):
            reduced = True
        done.append((saved, reduced, False))
    return done


def figures(loss: float, cer: float = 1.0, wer: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "wer": wer, "cer": cer}


def ours(losses, schedule, *, resume_after=None):
    state, done = ScheduleState(), []
    for epoch, loss in enumerate(losses):
        decision = schedule.after_epoch(state, figures(loss), epoch)
        done.append((decision.is_best, decision.reduce_rate and not decision.stop, decision.stop))
        if decision.stop:
            break
        if epoch == resume_after:
            state = ScheduleState(**json.loads(json.dumps(asdict(state))))
    return done


@given(LOSSES, SCHEDULES)
def test_the_decisions_are_deepspeechs(losses, schedule):
    assert ours(losses, schedule) == deepspeech(losses, schedule)


@given(LOSSES, SCHEDULES, st.integers(0, 40))
def test_a_resume_between_epochs_changes_no_decision(losses, schedule, resume_after):
    assert ours(losses, schedule, resume_after=resume_after) == ours(losses, schedule)


@given(LOSSES)
def test_the_best_is_the_first_lowest(losses):
    state = ScheduleState()
    for epoch, loss in enumerate(losses):
        Schedule(best_by=CER).after_epoch(state, figures(loss), epoch)
    if losses:
        assert (state.best_loss, state.best_epoch) == (min(losses), losses.index(min(losses)))


def test_nothing_stops_before_min_epochs():
    schedule = Schedule(early_stop=EarlyStopFlags(early_stop=True, es_epochs=2, min_epochs=6))
    state = ScheduleState()
    stops = [schedule.after_epoch(state, figures(5.0), epoch).stop for epoch in range(8)]
    assert stops == [False] * 5 + [True] * 3
    assert not schedule.stops(state, 5) and schedule.stops(state, 6)


def test_a_flag_changed_on_resume_counts_from_then_on():
    state = ScheduleState(best_loss=1.0, best_epoch=0, epochs_without_improvement=9)
    assert not Schedule().stops(state, 10)
    assert Schedule(early_stop=EarlyStopFlags(early_stop=True, es_epochs=5)).stops(state, 10)


def test_the_best_checkpoint_goes_by_the_figure_that_is_asked_for_and_patience_by_the_loss():
    epochs = [figures(9.0, 1.0, 1.0), figures(4.0, 0.5, 0.9), figures(5.0, 0.3, 0.8), figures(6.0, 0.4, 0.6)]
    for best_by, wanted in ((LOSS, 1), (CER, 2), (WER, 3)):
        state, schedule = ScheduleState(), Schedule(best_by=best_by)
        decisions = [schedule.after_epoch(state, found, epoch) for epoch, found in enumerate(epochs)]
        assert state.best_epoch == wanted and state.best_figures == epochs[wanted]
        assert decisions[wanted].is_best and state.best_loss == 4.0 and state.epochs_without_improvement == 2


def test_while_every_hypothesis_is_empty_the_loss_decides():
    state, schedule = ScheduleState(), Schedule(best_by=CER)
    best = [schedule.after_epoch(state, figures(loss), epoch).is_best for epoch, loss in enumerate([9, 8, 8.5])]
    assert best == [True, True, False]


def test_of_a_figure_that_should_be_high_the_highest_is_the_best():
    state, schedule = ScheduleState(), Schedule(best_by=Figure("accuracy", "accuracy", "higher"))
    epochs = [{"loss": loss, "accuracy": accuracy} for loss, accuracy in ((3, 0.2), (2, 0.7), (1, 0.6), (1, 0.7))]
    best = [schedule.after_epoch(state, found, epoch).is_best for epoch, found in enumerate(epochs)]
    assert best == [True, True, False, True]  # among equals the lower loss


@given(st.floats(0, 200), st.integers(1, 100))
def test_the_rate_is_the_flags_unless_a_schedule_or_a_warm_up_is_asked_for(epochs_done, epochs):
    assert Schedule(epochs).rate_factor(epochs_done) == 1.0


@given(st.sampled_from(["constant", "cosine"]), st.integers(1, 50), st.floats(0, 1), st.integers(1, 20))
def test_a_warm_up_only_rises_and_a_cosine_only_falls(kind, epochs, share, steps):
    schedule = Schedule(epochs, optimizer=OptimizerFlags(lr_schedule=kind, warmup_epochs=share * epochs))
    rates = [schedule.rate_factor((number + 0.5) / steps) for number in range(steps * epochs)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)
    if kind == "cosine" and share < 0.5 and len(rates) > 20:
        assert rates[-1] < 0.05
