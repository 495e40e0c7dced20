import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.config import Config
from deepspeech_training.config.groups import (
    CheckpointFlags,
    EarlyStopFlags,
    OptimizerFlags,
    PlateauFlags,
    TrainingFlags,
)
from deepspeech_training.training.schedule import ScheduleState, after_epoch, rate_factor, wants_stop

LOSSES = st.lists(st.floats(0, 100) | st.sampled_from([5.0, 4.95, 4.9, 4.0]), max_size=40)
CONFIGS = st.builds(
    lambda early_stop, plateau: Config(
        early_stop=early_stop, plateau=plateau, checkpoint=CheckpointFlags(best_by="loss")
    ),
    st.builds(
        EarlyStopFlags,
        early_stop=st.booleans(),
        es_epochs=st.integers(1, 6),
        es_min_delta=st.sampled_from([0.0, 0.05, 1.0]),
    ),
    st.builds(PlateauFlags, reduce_lr_on_plateau=st.booleans(), plateau_epochs=st.integers(1, 5)),
)


def deepspeech(losses, config):
    """The lines of DeepSpeech 0.9.3's train(), in their order: what it does after each epoch."""
    best_dev_loss, epochs_without_improvement = float("inf"), 0
    done = []
    for dev_loss in losses:
        saved = reduced = False
        if dev_loss > best_dev_loss - config.early_stop.es_min_delta:
            epochs_without_improvement += 1
        else:
            epochs_without_improvement = 0
        if dev_loss < best_dev_loss:
            best_dev_loss = dev_loss
            saved = True
        if config.early_stop.early_stop and epochs_without_improvement == config.early_stop.es_epochs:
            done.append((saved, reduced, True))
            break
        if (
            config.plateau.reduce_lr_on_plateau
            and epochs_without_improvement > 0
            and epochs_without_improvement % config.plateau.plateau_epochs == 0
        ):
            reduced = True
        done.append((saved, reduced, False))
    return done


def figures(loss: float, cer: float = 1.0, wer: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "wer": wer, "cer": cer}


def ours(losses, config, *, resume_after=None):
    state, done = ScheduleState(), []
    for epoch, loss in enumerate(losses):
        decision = after_epoch(state, figures(loss), epoch, config)
        done.append((decision.is_best, decision.reduce_rate and not decision.stop, decision.stop))
        if decision.stop:
            break
        if epoch == resume_after:
            state = ScheduleState(**json.loads(json.dumps(asdict(state))))
    return done


@given(LOSSES, CONFIGS)
def test_the_decisions_are_deepspeechs(losses, config):
    assert ours(losses, config) == deepspeech(losses, config)


@given(LOSSES, CONFIGS, st.integers(0, 40))
def test_a_resume_between_epochs_changes_no_decision(losses, config, resume_after):
    assert ours(losses, config, resume_after=resume_after) == ours(losses, config)


@given(LOSSES)
def test_the_best_is_the_first_lowest(losses):
    state = ScheduleState()
    for epoch, loss in enumerate(losses):
        after_epoch(state, figures(loss), epoch, Config())
    if losses:
        assert (state.best_loss, state.best_epoch) == (min(losses), losses.index(min(losses)))


def test_nothing_stops_before_min_epochs():
    config = Config(early_stop=EarlyStopFlags(early_stop=True, es_epochs=2, min_epochs=6))
    state = ScheduleState()
    stops = [after_epoch(state, figures(5.0), epoch, config).stop for epoch in range(8)]
    assert stops == [False] * 5 + [True] * 3
    assert not wants_stop(state, 5, config) and wants_stop(state, 6, config)


def test_a_flag_changed_on_resume_counts_from_then_on():
    state = ScheduleState(best_loss=1.0, best_epoch=0, epochs_without_improvement=9)
    assert not wants_stop(state, 10, Config())
    assert wants_stop(state, 10, Config(early_stop=EarlyStopFlags(early_stop=True, es_epochs=5)))


def test_the_best_checkpoint_goes_by_the_figure_that_is_asked_for_and_patience_by_the_loss():
    epochs = [figures(9.0, 1.0, 1.0), figures(4.0, 0.5, 0.9), figures(5.0, 0.3, 0.8), figures(6.0, 0.4, 0.6)]
    for best_by, wanted in (("loss", 1), ("cer", 2), ("wer", 3)):
        state, config = ScheduleState(), Config(checkpoint=CheckpointFlags(best_by=best_by))
        decisions = [after_epoch(state, found, epoch, config) for epoch, found in enumerate(epochs)]
        assert state.best_epoch == wanted and state.best_figures == epochs[wanted]
        assert decisions[wanted].is_best and state.best_loss == 4.0 and state.epochs_without_improvement == 2


def test_while_every_hypothesis_is_empty_the_loss_decides():
    state = ScheduleState()
    assert [after_epoch(state, figures(loss), epoch, Config()).is_best for epoch, loss in enumerate([9, 8, 8.5])] == [
        True,
        True,
        False,
    ]


@given(st.floats(0, 200), st.integers(1, 100))
def test_the_rate_is_the_flags_unless_a_schedule_or_a_warm_up_is_asked_for(epochs_done, epochs):
    assert rate_factor(epochs_done, Config(training=TrainingFlags(epochs=epochs))) == 1.0


@given(st.sampled_from(["constant", "cosine"]), st.integers(1, 50), st.floats(0, 1), st.integers(1, 20))
def test_a_warm_up_only_rises_and_a_cosine_only_falls(schedule, epochs, share, steps):
    config = Config(
        training=TrainingFlags(epochs=epochs),
        optimizer=OptimizerFlags(lr_schedule=schedule, warmup_epochs=share * epochs),
    )
    rates = [rate_factor((number + 0.5) / steps, config) for number in range(steps * epochs)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)
    if schedule == "cosine" and share < 0.5 and len(rates) > 20:
        assert rates[-1] < 0.05
