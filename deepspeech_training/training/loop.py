"""The loop: train an epoch, validate, save last and best, ask the schedule how to go on.

All that the loop knows between two steps is in RunState, and RunState is in every checkpoint: that is why a run that
was killed at any moment ends with the same weights as one that was not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from deepspeech_training.checkpoints.folder import CheckpointFolder, best_name
from deepspeech_training.config import Config, as_dict
from deepspeech_training.data.loader import Batch, Example, Loader
from deepspeech_training.data.plan import Plan, clip_keys
from deepspeech_training.data.sample import Rejection, Sample, SampleSet
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import (
    BadClip,
    EpochBegun,
    EpochDone,
    EpochFigures,
    Estimated,
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
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.tasks.base import Task
from deepspeech_training.training.backends.base import Backend
from deepspeech_training.training.evaluate import (
    Sums,
    ValidationState,
    batches_fingerprint,
    by_length,
    evaluate_batches,
)
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.training.schedule import ScheduleState, after_epoch, rate_factor, wants_stop

OFFENCES_TO_QUARANTINE = 2
SAVE_BEFORE_VALIDATION_S = 10.0  # an epoch longer than this is not put at risk by a kill during its validation
STEPS_TO_TELL_THE_SPEED, SECONDS_TO_TELL_THE_SPEED = 5, 5.0
STEPS_WITHOUT_A_CLIP = 10  # in a row: then it is not the clips, the training has diverged


@dataclass
class RunState:
    """Everything but the arrays that decides how a run goes on; JSON values only.

    Args:
        epoch: epochs that are done with; the one in hand counts from 0.
        step_in_epoch: batches done in it.
        step: batches done in the whole run.
        updates: changes of the weights (steps less those without a usable clip): Adam's t.
        learning_rate: now, before warm-up and cosine.
        forced_rate: the --learning_rate that --force_initialize_learning_rate has set already.
        schedule: best loss, patience.
        loss_sum, clips, samples_done, seconds, seconds_waited: of the epoch in hand.
        validation: how far it has come, None outside.
        offences: how often a clip made a step impossible.
        quarantine: clips left out for the rest of the run, with the reason.
        suspects: clips of the barren steps, with the reason: if a later step works they were at fault, not the
            weights.
        barren_steps: steps in a row without a usable clip.
        history: one entry per finished epoch.
        stopped: why training is finished, None while it is not.
        plan: fingerprint of the batches.
    """

    learning_rate: float
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    updates: int = 0
    forced_rate: float | None = None
    schedule: ScheduleState = field(default_factory=ScheduleState)
    loss_sum: float = 0.0
    clips: int = 0
    samples_done: int = 0
    seconds: float = 0.0
    seconds_waited: float = 0.0
    validation: ValidationState | None = None
    offences: dict[str, int] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, str] = field(default_factory=dict)
    barren_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None
    plan: str = ""

    def begin_epoch(self) -> None:
        """Set everything that counts within an epoch to its start."""
        self.step_in_epoch, self.validation = 0, None
        self.loss_sum, self.clips, self.samples_done, self.seconds, self.seconds_waited = 0.0, 0, 0, 0.0, 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunState":
        values = dict(values)
        values["schedule"] = ScheduleState(**values["schedule"])
        if values["validation"] is not None:
            values["validation"] = ValidationState.from_json(values["validation"])
        return cls(**values)


@dataclass
class _Speed:
    """How fast this process trains; the first step of an epoch, which may compile, is not counted."""

    estimated: bool = False
    steps: int = 0
    epochs: int = 0
    validation_seconds: float = 0.0
    _begin: tuple[float, float] | None = None  # time and seconds of audio after the first step
    _now: tuple[float, float] = (0.0, 0.0)

    def note_step(self, audio_seconds: float) -> None:
        self.steps += 1
        self._now = time.perf_counter(), audio_seconds
        if self._begin is None:
            self._begin = self._now

    def begin_epoch(self) -> None:
        """Seconds of audio count from 0 again, and a validation lies between."""
        self.steps, self._begin = 0, None

    def audio_seconds_per_second(self) -> float | None:
        """None while there are too few steps to tell."""
        if self._begin is None or self.steps < STEPS_TO_TELL_THE_SPEED:
            return None
        seconds, audio_seconds = (now - begin for now, begin in zip(self._now, self._begin, strict=True))
        return audio_seconds / seconds if seconds >= SECONDS_TO_TELL_THE_SPEED and audio_seconds > 0 else None


class Trainer:
    """Trains until the epochs are done, the schedule stops, or a signal comes.

    Args:
        backend: model and compiled steps.
        task: what is trained.
        config: the flags.
        plan: batches of the training samples.
        dev_sets, metrics_sets: validated after each epoch; the first decide which checkpoint is best.
        loader: reads audio.
        folder: where checkpoints go; locked.
        state: of a fresh or a resumed run; changed in place.
        extra_state: what else a checkpoint must say (flags, description of the task, threads).
        events: receives what happens.
        log: the JSON-lines log, whose length is remembered in each checkpoint.
        save_rejections: is called with the quarantined clips when they become more.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        task: Task,
        config: Config,
        plan: Plan,
        dev_sets: Sequence[SampleSet],
        metrics_sets: Sequence[SampleSet],
        loader: Loader,
        folder: CheckpointFolder,
        state: RunState,
        extra_state: dict[str, Any],
        events: Events,
        log: JsonLines,
        save_rejections: Callable[[list[Rejection]], None],
    ):
        self.state = state
        self._backend, self._task, self._config, self._plan = backend, task, config, plan
        self._dev_sets, self._metrics_sets = list(dev_sets), list(metrics_sets)
        self._loader, self._folder, self._events, self._log = loader, folder, events, log
        self._extra_state, self._save_rejections = extra_state, save_rejections
        self._last_save = time.monotonic()
        self._speed = _Speed()

    # --- the run -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the end.

        Raises:
            Interrupted: a signal came; the state is saved.
            UserError: nothing usable is left to train on, or the disk is full.
        """
        state = self.state
        interrupts.begin_training()
        if state.quarantine:
            self._save_rejections(self.quarantined())  # the check of the data has written the list without them
        while state.epoch < self._config.training.epochs and not self._stopped_early():
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
                if self._stopped_early()
                else f"all {self._config.training.epochs} epochs are done"
            )
            self._save()
        self._events.emit(Finished(state.stopped, step=state.step))
        interrupts.end_training()

    def _stopped_early(self) -> bool:
        return wants_stop(self.state.schedule, self.state.epoch, self._config)

    def _train_epoch(self) -> None:
        state = self.state
        renew_every = self._config.augmentation.cache_for_epochs
        if renew_every and state.epoch and state.epoch % renew_every == 0:
            self._loader.forget()
            self._task.read_anew()
        batches = self._plan.batches(state.epoch)
        epochs = self._config.training.epochs
        self._events.emit(EpochBegun(state.epoch, epochs, len(batches), state.step_in_epoch, state.step))
        self._speed.begin_epoch()
        started, seconds_before = time.perf_counter(), state.seconds
        waited_before, waited_at_start = state.seconds_waited, self._loader.seconds_waited
        planned = [[self._plan.samples[i] for i in batch] for batch in batches[state.step_in_epoch :]]
        for batch in self._loader.batches(planned, augment=self._augmentation(len(batches))):
            loss, norm = self._step(batch)
            state.step += 1
            state.step_in_epoch += 1
            state.seconds = seconds_before + time.perf_counter() - started
            state.seconds_waited = waited_before + self._loader.seconds_waited - waited_at_start
            if loss is not None:
                speed = self._audio_seconds() / max(state.seconds, 1e-9)
                self._events.emit(StepDone(state.step, state.epoch, loss, norm, audio_seconds_per_second=speed))
            self._speed.note_step(self._audio_seconds())
            self._estimate_after_steps()
            self._save_if_due()
        state.validation = ValidationState()  # this epoch's training is done with, whatever the plan becomes
        if self._dev_sets and time.monotonic() - self._last_save >= SAVE_BEFORE_VALIDATION_S:
            self._save()

    def _augmentation(self, num_batches: int) -> Callable[[int, Sample, Example], Example] | None:
        """What augments the samples of the batches that this epoch still has."""
        if not self._task.augments:
            return None
        epoch, first, epochs = self.state.epoch, self.state.step_in_epoch, self._config.training.epochs

        def augment(number: int, sample: Sample, example: Example) -> Example:
            clock = min((epoch + (first + number) / num_batches) / epochs, 1.0)
            return self._task.augment(sample, example, epoch=epoch, clock=clock)

        return augment

    def _rate(self, step_in_epoch: int) -> float:
        """The learning rate of a step of the epoch in hand."""
        num_batches = max(len(self._plan.batches(self.state.epoch)), 1)
        epochs_done = self.state.epoch + (step_in_epoch + 0.5) / num_batches
        return self.state.learning_rate * rate_factor(epochs_done, self._config)

    def _estimate_after_steps(self) -> None:
        """Once, after the first steps: how long it will take, by the seconds of audio that are left."""
        rate = self._speed.audio_seconds_per_second()
        if rate is None or self._speed.estimated:
            return
        whole_epoch = sum(s.cost for s in self._plan.samples) / self._task.unit.size
        epochs_left = self._config.training.epochs - self.state.epoch
        left = (whole_epoch * epochs_left - self._audio_seconds()) / rate
        self._speed.estimated = True
        self._events.emit(
            Estimated(
                audio_seconds_per_second=rate,
                epoch_seconds=whole_epoch / rate,
                epochs_left=epochs_left,
                left_seconds=max(left, 0.0),
                with_validation=False,
            )
        )

    def _estimate_after_epoch(self, figures: EpochFigures) -> None:
        """Where an epoch is over before that: by what the second has taken, validation included."""
        epochs_left = self._config.training.epochs - self.state.epoch
        self._speed.epochs += 1
        if self._speed.estimated or self._speed.epochs < 2 or epochs_left < 1:
            return
        self._speed.estimated = True
        seconds = figures.seconds + self._speed.validation_seconds
        self._events.emit(
            Estimated(
                audio_seconds_per_second=figures.audio_seconds_per_second,
                epoch_seconds=seconds,
                epochs_left=epochs_left,
                left_seconds=seconds * epochs_left,
                with_validation=True,
            )
        )

    def _audio_seconds(self) -> float:
        return self.state.samples_done / self._task.unit.size

    # --- a step that never takes in a poisoned update ----------------------------------------------------------

    def _step(self, loaded: Batch) -> tuple[float | None, float | None]:
        """Make one update with the usable clips of a batch; returns its mean loss and gradient norm, or None, None."""
        state = self.state
        for sample, reason in loaded.faults:
            if sample.id not in state.quarantine:
                self._offence(sample, reason)
        batch = loaded.without(state.quarantine)
        if loaded.samples and not batch.samples:
            return None, None  # quarantined clips only: nothing new is wrong
        while batch.samples:
            keys = clip_keys(batch.samples, seed=self._config.training.random_seed, step=state.step)
            losses, norm = self._backend.train_step(
                batch, keys, learning_rate=self._rate(state.step_in_epoch), updates=state.updates
            )
            if np.isfinite(norm) and np.isfinite(losses).all():
                state.updates += 1
                state.barren_steps = 0
                self._settle_suspects()
                state.loss_sum += float(losses.astype(np.float64).sum())
                state.clips += len(losses)
                state.samples_done += batch.cost
                return float(losses.mean()), norm
            offenders = self._offenders(batch, keys, losses)
            if len(offenders) == len(batch.samples) or not offenders:
                named = [f"{sample.id} {reason}" for sample, reason in offenders[:3]]
                named += ["..."] if len(offenders) > 3 else []
                message = f"Step {state.step:,}: no usable clip, no update. {'; '.join(named)}".rstrip()
                self._events.emit(WarningNote(message, state.step))
                state.suspects |= {sample.id: reason for sample, reason in offenders}
                break
            for sample, reason in offenders:
                self._offence(sample, reason)
            batch = batch.without(sample.id for sample, _ in offenders)
        state.barren_steps += 1
        if state.barren_steps >= STEPS_WITHOUT_A_CLIP:
            raise UserError(
                f"{STEPS_WITHOUT_A_CLIP} steps in a row had no clip with a finite loss and gradient (the last at step "
                f"{state.step:,}): the training has diverged, or the data is broken. The weights are still finite.\n"
                "Go on from an earlier checkpoint with a lower rate (--force_initialize_learning_rate "
                f"--learning_rate {state.learning_rate / 10:.3g}) or with --max_grad_norm 5, or look at the clips "
                "that rejected.csv and the warnings name."
            )
        return None, None

    def _offenders(self, batch: Batch, keys: np.ndarray, losses: np.ndarray) -> list[tuple[Sample, str]]:
        """The clips that make a step's loss or gradient not finite, each tried alone if the losses do not tell."""
        found = [
            (sample, f"has a loss of {loss}")
            for sample, loss in zip(batch.samples, losses, strict=True)
            if not np.isfinite(loss)
        ]
        if found:
            return found
        for place, sample in enumerate(batch.samples):
            alone = batch.without(s.id for s in batch.samples if s.id != sample.id)
            _, norm = self._backend.train_step(
                alone, keys[place : place + 1], learning_rate=0.0, updates=self.state.updates, apply=False
            )
            if not np.isfinite(norm):
                found.append((sample, "has a gradient that is not finite"))
        return found

    def _settle_suspects(self) -> None:
        """After an update that worked: steps that had no good clip before it were the fault of their clips."""
        suspects, self.state.suspects = self.state.suspects, {}
        for sample in self._plan.samples if suspects else ():
            if sample.id in suspects:
                self._offence(sample, suspects[sample.id])

    def _offence(self, sample: Sample, reason: str) -> None:
        state = self.state
        state.offences[sample.id] = state.offences.get(sample.id, 0) + 1
        quarantined = state.offences[sample.id] >= OFFENCES_TO_QUARANTINE
        if quarantined:
            state.quarantine[sample.id] = reason
            self._save_rejections(self.quarantined())
        self._events.emit(BadClip(sample.id, sample.path, reason, state.step, quarantined=quarantined))

    def quarantined(self) -> list[Rejection]:
        """The quarantined clips as rows of rejected.csv."""
        return [
            Rejection(s.csv_path, s.row, s.path, s.content, "quarantined", self.state.quarantine[s.id])
            for s in self._plan.samples
            if s.id in self.state.quarantine
        ]

    # --- validation --------------------------------------------------------------------------------------------

    def _validate(self) -> tuple[list[SetFigures], list[SetFigures]]:
        """Evaluate dev and metrics sets, going on in the middle where a checkpoint was; returns their figures."""
        state = self.state
        sets = self._dev_sets + self._metrics_sets
        size = self._config.batches.dev_batch_size * self._backend.num_devices
        planned = [by_length(s.samples, size, reverse=self._config.limits.reverse_dev) for s in sets]
        fingerprint = batches_fingerprint(planned)
        if state.validation.plan != fingerprint:
            if state.validation.plan:
                self._events.emit(
                    Note("The validation clips or their batches have changed: the validation starts again")
                )
            state.validation = ValidationState(plan=fingerprint)
        progress = state.validation
        while progress.set_index < len(sets):
            current = sets[progress.set_index]
            if len(progress.sums) == progress.set_index:
                progress.sums.append(Sums())
            batches = planned[progress.set_index]
            what = f"Validating on {current.name}"
            self._events.emit(ValidationBegun(what, len(batches), done=progress.batch_index, step=state.step))
            remaining = batches[progress.batch_index :]
            for batch, losses, hypotheses in evaluate_batches(self._backend, self._task, self._loader, remaining):
                for sample, reason in progress.sums[progress.set_index].add(batch, losses, hypotheses):
                    self._events.emit(WarningNote(f"{sample.id} ({sample.path}) {reason}", state.step))
                progress.batch_index += 1
                self._events.emit(ValidationStepDone(state.step))
                self._save_if_due()
            progress.set_index += 1
            progress.batch_index = 0
        figures = [sums.figures(s.name) for s, sums in zip(sets, progress.sums, strict=True)]
        return figures[: len(self._dev_sets)], figures[len(self._dev_sets) :]

    # --- the end of an epoch -----------------------------------------------------------------------------------

    def _end_epoch(self, dev: list[SetFigures], metrics: list[SetFigures]) -> None:
        """Take in the figures, save, and go on as the schedule says. One checkpoint holds all of it, or none."""
        state, epoch = self.state, self.state.epoch
        sums = state.validation.sums[: len(self._dev_sets)]
        together = Sums.together(sums).figures("dev")
        decision = None
        if together.loss is not None:
            decision = after_epoch(state.schedule, {"loss": together.loss, **together.values}, epoch, self._config)
        elif self._dev_sets:
            self._events.emit(WarningNote("No dev clip has a finite loss: not taken into account"))
        figures = EpochFigures(
            epoch=epoch,
            step=state.step,
            train_loss=state.loss_sum / state.clips if state.clips else None,
            dev=dev,
            metrics=metrics,
            best_loss=state.schedule.best_loss,
            best_epoch=state.schedule.best_epoch,
            best_by=self._config.checkpoint.best_by,
            best_figures=state.schedule.best_figures,
            epochs_without_improvement=state.schedule.epochs_without_improvement,
            patience=self._config.early_stop.es_epochs if self._config.early_stop.early_stop else None,
            learning_rate=self._rate(state.step_in_epoch - 1),
            seconds=state.seconds,
            audio_seconds_per_second=self._audio_seconds() / max(state.seconds, 1e-9),
            waited_share=state.seconds_waited / max(state.seconds, 1e-9),
        )
        previous = EpochFigures.from_json(state.history[-1]).losses() if state.history else None
        state.history.append(figures.as_json())
        state.epoch += 1
        state.begin_epoch()
        self._events.emit(EpochDone(figures, self._config.training.epochs, best_name(state.step), previous))
        self._estimate_after_epoch(figures)
        if decision is not None and decision.is_best:
            self._folder.save_best(state.step, self._json_state(), self._backend.state)
        if decision is not None and decision.reduce_rate and not decision.stop:
            self._back_to_best()
        self._save()
        self._stop_if_asked()

    def _back_to_best(self) -> None:
        """Plateau: the best weights and moments again, with a lower rate. Steps and epochs count on."""
        state = self.state
        try:
            best = self._folder.load("best")
        except UserError as error:  # raised again at every restart, it would end the run for good
            self._events.emit(WarningNote(f"{error}\nThe weights stay as they are.", state.step))
            best = None
        if best is not None:
            self._backend.set_state(best.arrays)
            state.updates = best.model.progress.updates
            self._folder.forget_weights()
        state.learning_rate *= self._config.plateau.plateau_reduction
        self._events.emit(
            RateReduced(
                learning_rate=state.learning_rate,
                best_epoch=state.schedule.best_epoch,
                step=state.step,
                epochs_without_improvement=state.schedule.epochs_without_improvement,
            )
        )

    # --- saving ------------------------------------------------------------------------------------------------

    def _json_state(self) -> dict[str, Any]:
        return {
            **self._extra_state,
            "saved_at": round(time.time(), 3),
            "run": self.state.as_json(),
            "flags": as_dict(self._config),
            "log_length": self._log.length(),
        }

    def _save(self) -> None:
        self._folder.save(
            self.state.step,
            self._json_state(),
            self._backend.state,
            max_to_keep=self._config.checkpoint.max_to_keep,
        )
        self._last_save = time.monotonic()

    def _save_if_due(self) -> None:
        if interrupts.requested() is not None:
            self._save()
            self._stop_if_asked()
        elif time.monotonic() - self._last_save >= self._config.checkpoint.checkpoint_secs:
            self._save()

    def _stop_if_asked(self) -> None:
        exit_code = interrupts.requested()
        if exit_code is not None:
            wanted = self._config.checkpoint.load_train
            how = "" if wanted in ("auto", "last") else f", with --load_train last instead of {wanted},"
            raise Interrupted(
                exit_code,
                f"saved at step {self.state.step:,} in {self._folder.folder}; the same command{how} goes on there",
            )
