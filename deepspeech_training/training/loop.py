"""The loop: train an epoch, validate, save last and best, ask the schedule what to do next.

All that the loop knows between two steps is in RunState, and RunState is in every checkpoint: that is why a run that
was killed at any moment ends with the same weights as one that was not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepspeech_training.checkpoints.folder import best_name
from deepspeech_training.data.loader import Example, Loader
from deepspeech_training.data.plan import Plan
from deepspeech_training.data.sample import Sample, SampleSet
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import (
    EpochBegun,
    EpochDone,
    EpochFigures,
    Event,
    Events,
    Finished,
    Note,
    RateReduced,
    SetFigures,
    StepDone,
    ValidationBegun,
    ValidationStepDone,
    WarningNote,
)
from deepspeech_training.reporting.validated import ValidatedClips
from deepspeech_training.tasks.base import Task
from deepspeech_training.training.backends.base import Backend, Peers
from deepspeech_training.training.evaluate import (
    Sums,
    ValidationState,
    batches_fingerprint,
    by_cost,
    evaluate_batches,
)
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.training.saver import Saver
from deepspeech_training.training.schedule import Schedule
from deepspeech_training.training.shares import share_of, shared
from deepspeech_training.training.speed import Speed
from deepspeech_training.training.state import RunState
from deepspeech_training.training.steps import Steps

SAVE_BEFORE_VALIDATION_S = 10.0  # an epoch longer than this is not put at risk by a kill during its validation


@dataclass(frozen=True)
class TrainingData:
    """What is trained and validated on.

    Args:
        plan: batches of the training samples.
        dev_sets, metrics_sets: validated after each epoch; the first decide which checkpoint is best.
        dev_batch_size: of all devices together.
        reverse_dev: validate from expensive to cheap.
        renew_every: epochs after which samples are read again from their files; 0 for never.
    """

    plan: Plan
    dev_sets: Sequence[SampleSet[Sample]] = ()
    metrics_sets: Sequence[SampleSet[Sample]] = ()
    dev_batch_size: int = 1
    reverse_dev: bool = False
    renew_every: int = 0


class Trainer:
    """Trains until the epochs are done, the schedule stops, or a signal comes.

    Args:
        backend: model and compiled steps.
        task: what is trained.
        data: what it is trained and validated on.
        loader: reads it.
        schedule: how long, and with which rate.
        state: of a fresh or a resumed run; changed in place.
        saver: keeps checkpoints.
        events: receives what happens.
        peers: with which it trains; all of them have the same plan and state.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        task: Task,
        data: TrainingData,
        loader: Loader,
        schedule: Schedule,
        state: RunState,
        saver: Saver,
        events: Events,
        peers: Peers,
    ):
        self.state = state
        self._peers = peers
        self._backend, self._task, self._data, self._loader = backend, task, data, loader
        self._schedule, self._saver, self._events = schedule, saver, events
        plan = data.plan
        self._steps = Steps(backend, state, plan.samples, seed=plan.rules.seed, events=events, saver=saver)
        self._speed = Speed(plan.cost / task.unit.size, task.unit.speed)

    # --- the run -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the end.

        Raises:
            Interrupted: a signal came; the state is saved.
            UserError: nothing usable is left to train on, or the disk is full.
        """
        state, epochs = self.state, self._schedule.epochs
        interrupts.begin_training()
        while state.epoch < epochs and not self._stops_early():
            state.stopped = None
            if state.validation is None:
                self._train_epoch()
            started = time.perf_counter()
            dev, metrics = self._validate()
            self._speed.validation_seconds = time.perf_counter() - started
            self._end_epoch(dev, metrics)
        if state.stopped is None:
            state.stopped = (
                f"no better dev loss for {state.schedule.epochs_without_improvement} epochs (--es_epochs)"
                if self._stops_early()
                else f"all {epochs} epochs are done"
            )
            self._save()
        self._events.emit(Finished(state.stopped, step=state.step))
        interrupts.end_training()

    def _stops_early(self) -> bool:
        return self._schedule.stops(self.state.schedule, self.state.epoch)

    # --- an epoch ----------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        state, plan, renew_every = self.state, self._data.plan, self._data.renew_every
        if renew_every and state.epoch and state.epoch % renew_every == 0:
            self._loader.forget()
            self._task.read_anew()
        batches = plan.batches(state.epoch)
        begun = EpochBegun(state.epoch, self._schedule.epochs, len(batches), state.step_in_epoch, state.step)
        self._events.emit(begun)
        self._speed.begin_epoch()
        started, seconds_before = time.perf_counter(), state.seconds
        waited_before, waited_at_start = state.seconds_waited, self._loader.seconds_waited
        left = range(state.step_in_epoch, len(batches))
        shares = (share_of([plan.samples[i] for i in batches[number]], self._peers) for number in left)
        loaded = self._loader.batches(shares, augment=self._augmentation(len(batches)))
        for number, batch in zip(left, loaded, strict=True):
            together = shared([plan.samples[i] for i in batches[number]], batch, self._peers)
            updated = self._steps.update(together, self._rate(state.step_in_epoch))
            state.step += 1
            state.step_in_epoch += 1
            state.seconds = seconds_before + time.perf_counter() - started
            state.seconds_waited = waited_before + self._loader.seconds_waited - waited_at_start
            if updated is not None:
                loss, norm = updated
                speed = self._mean_speed()
                self._events.emit(
                    StepDone(state.step, state.epoch, loss, norm, speed=speed, unit=self._task.unit.speed)
                )
            self._speed.note_step(self._amount_done())
            self._emit(self._speed.estimate_after_step(self._schedule.epochs - state.epoch))
            self._save_if_due()
        state.validation = ValidationState()  # this epoch's training is done with, whatever the plan becomes
        if self._data.dev_sets and self._saver.seconds_since >= SAVE_BEFORE_VALIDATION_S:
            self._save()

    def _augmentation(self, num_batches: int) -> Callable[[int, Sample, Example], Example] | None:
        """What augments the samples of the batches that this epoch still has."""
        if not self._task.augments:
            return None
        epoch, first, epochs = self.state.epoch, self.state.step_in_epoch, self._schedule.epochs

        def augment(number: int, sample: Sample, example: Example) -> Example:
            clock = min((epoch + (first + number) / num_batches) / epochs, 1.0)
            return self._task.augment(sample, example, epoch=epoch, clock=clock)

        return augment

    def _rate(self, step_in_epoch: int) -> float:
        """The learning rate of a step of the current epoch."""
        num_batches = max(len(self._data.plan.batches(self.state.epoch)), 1)
        epochs_done = self.state.epoch + (step_in_epoch + 0.5) / num_batches
        return self.state.learning_rate * self._schedule.rate_factor(epochs_done)

    def _amount_done(self) -> float:
        """Of this epoch, in units of the task."""
        return self.state.samples_done / self._task.unit.size

    def _mean_speed(self) -> float:
        return self._amount_done() / max(self.state.seconds, 1e-9)

    def _emit(self, event: Event | None) -> None:
        if event is not None:
            self._events.emit(event)

    # --- validation --------------------------------------------------------------------------------------------

    def _validate(self) -> tuple[list[SetFigures], list[SetFigures]]:
        """Evaluate dev and metrics sets, resuming in the middle where a checkpoint was; returns their figures."""
        state, data = self.state, self._data
        sets = [*data.dev_sets, *data.metrics_sets]
        planned = [by_cost(s.samples, data.dev_batch_size, reverse=data.reverse_dev) for s in sets]
        progress = state.validation or ValidationState()
        fingerprint = batches_fingerprint(planned)
        if progress.plan != fingerprint:
            if progress.plan:
                text = "The validation clips or their batches have changed: the validation starts again"
                self._events.emit(Note(text))
            progress = ValidationState(plan=fingerprint)
        state.validation = progress
        heard = ValidatedClips()
        while progress.set_index < len(sets):
            current, batches = sets[progress.set_index], planned[progress.set_index]
            if len(progress.sums) == progress.set_index:
                progress.sums.append(Sums(self._task.metrics()))
            what = f"Validating on {current.name}"
            self._events.emit(ValidationBegun(what, len(batches), done=progress.batch_index, step=state.step))
            remaining = batches[progress.batch_index :]
            for found in evaluate_batches(self._backend, self._task, self._loader, remaining, self._peers):
                progress.sums[progress.set_index].add(found)
                for sample, reason in found.bad:
                    self._events.emit(WarningNote(f"{sample.id} ({sample.path}) {reason}", state.step))
                if progress.set_index < len(data.dev_sets):
                    heard.add(found.samples, found.losses, found.texts)
                progress.batch_index += 1
                self._events.emit(ValidationStepDone(state.step))
                self._save_if_due()
            progress.set_index += 1
            progress.batch_index = 0
        self._saver.save_validated(heard, state.epoch)
        figures = [sums.figures(s.name) for s, sums in zip(sets, progress.sums, strict=True)]
        return figures[: len(data.dev_sets)], figures[len(data.dev_sets) :]

    # --- the end of an epoch -----------------------------------------------------------------------------------

    def _end_epoch(self, dev: list[SetFigures], metrics: list[SetFigures]) -> None:
        """Take in the figures, save, and continue as the schedule says. One checkpoint holds all of it, or none."""
        state, schedule = self.state, self._schedule
        decision = None
        if dev:
            assert state.validation is not None
            together = Sums.together(state.validation.sums[: len(dev)]).figures("dev")
            if together.loss is None:
                self._events.emit(WarningNote("No dev clip has a finite loss: not taken into account"))
            else:
                found = {"loss": together.loss, **together.values}
                decision = schedule.after_epoch(state.schedule, found, state.epoch)
        figures = EpochFigures(
            epoch=state.epoch,
            step=state.step,
            train_loss=state.loss_sum / state.clips if state.clips else None,
            dev=dev,
            metrics=metrics,
            best_loss=state.schedule.best_loss,
            best_epoch=state.schedule.best_epoch,
            best_by=schedule.best_by.name,
            best_figures=state.schedule.best_figures,
            epochs_without_improvement=state.schedule.epochs_without_improvement,
            patience=schedule.early_stop.es_epochs if schedule.early_stop.early_stop else None,
            learning_rate=self._rate(state.step_in_epoch - 1),
            seconds=state.seconds,
            speed=self._mean_speed(),
            unit=self._task.unit.speed,
            waited_share=state.seconds_waited / max(state.seconds, 1e-9),
        )
        previous = EpochFigures.from_json(state.history[-1]).losses() if state.history else None
        state.history.append(figures.as_json())
        state.epoch += 1
        state.begin_epoch()
        self._events.emit(
            EpochDone(
                figures,
                schedule.epochs,
                best_name(state.step),
                previous,
                judged_by=self._task.figures,
            )
        )
        left = schedule.epochs - state.epoch
        self._emit(self._speed.estimate_after_epoch(left, seconds=figures.seconds, speed=figures.speed))
        if decision is not None and decision.is_best:
            self._saver.save_best(state, self._backend.state)
        if decision is not None and decision.reduce_rate and not decision.stop:
            self._back_to_best()
        self._save()
        self._stop_if_asked()

    def _back_to_best(self) -> None:
        """Plateau: the best weights and moments again, with a lower rate. Steps and epochs count on."""
        state = self.state
        try:
            best = self._saver.load_best()
        except UserError as error:  # raised again at every restart, it would end the run for good
            self._events.emit(WarningNote(f"{error}\nThe weights stay as they are.", state.step))
            best = None
        updates = self._peers.exchange(None if best is None else best.model.progress.updates or 0)[0]
        if updates is not None:  # of the first worker, which alone has read it
            self._backend.set_state(self._peers.from_first({} if best is None else best.arrays))
            state.updates = updates
        state.learning_rate *= self._schedule.plateau.plateau_reduction
        assert state.schedule.best_epoch is not None  # there is no plateau before the first best
        self._events.emit(
            RateReduced(
                learning_rate=state.learning_rate,
                best_epoch=state.schedule.best_epoch,
                step=state.step,
                epochs_without_improvement=state.schedule.epochs_without_improvement,
            )
        )

    # --- saving ------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self._saver.save(self.state, self._backend.state)

    def _save_if_due(self) -> None:
        """Save or stop where the first worker's clock or a signal to any of them says so: all do at the same step."""
        exit_code, due = self._agreed()
        if exit_code is not None or due:
            self._save()
        self._stop(exit_code)

    def _stop_if_asked(self) -> None:
        self._stop(self._agreed()[0])

    def _agreed(self) -> tuple[int | None, bool]:
        """The exit code of a signal that any of the workers has got, and whether it is time to save."""
        asked = self._peers.exchange([interrupts.requested(), self._saver.is_due])
        return next((exit_code for exit_code, _ in asked if exit_code is not None), None), asked[0][1]

    def _stop(self, exit_code: int | None) -> None:
        if exit_code is not None:
            where = f"saved at step {self.state.step:,} in {self._saver.folder.folder}"
            raise Interrupted(exit_code, f"{where}; {self._saver.how_to_resume}")
