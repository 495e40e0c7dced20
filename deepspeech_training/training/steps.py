"""A step that never takes in a poisoned update: samples that make it impossible are left out, at last for good."""

from collections.abc import Sequence

import numpy as np

from deepspeech_training.data.plan import clip_keys
from deepspeech_training.data.sample import Rejection, Sample
from deepspeech_training.data.sample_list import as_list
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import BadClip, Events, WarningNote
from deepspeech_training.training.backends.base import Backend
from deepspeech_training.training.saver import Saver
from deepspeech_training.training.shares import SharedBatch
from deepspeech_training.training.state import RunState

OFFENCES_TO_QUARANTINE = 2
STEPS_WITHOUT_A_CLIP = 10  # in a row: then it is not the clips, the training has diverged


class Steps:
    """Makes the updates of a run; `RunState` says which samples are in quarantine, and how close others are to it.

    Args:
        backend: computes.
        state: of the run; changed in place.
        samples: all that are trained on.
        seed: --random_seed.
        events: gets bad samples.
        saver: writes rejected.csv.
    """

    def __init__(
        self, backend: Backend, state: RunState, samples: Sequence[Sample], *, seed: int, events: Events, saver: Saver
    ):
        self._backend, self._state, self._samples, self._seed = backend, state, as_list(samples), seed
        self._events, self._saver = events, saver
        if state.quarantine:
            self._save_rejections()  # the check of the data has written the list without them

    def update(self, loaded: SharedBatch, learning_rate: float) -> tuple[float, float] | None:
        """Make one update with the usable samples of a batch; returns its mean loss and gradient norm.

        Returns:
            None if no sample was usable, and there was no update.
        Raises:
            UserError: that was so in many steps in a row.
        """
        state = self._state
        for sample, reason in loaded.faults:
            if sample.id not in state.quarantine:
                self._offence(sample, reason)
        batch = loaded.without(state.quarantine)
        if loaded.samples and not batch.samples:
            return None  # quarantined samples only: nothing new is wrong
        while batch.samples:
            losses, norm = self._step(batch, learning_rate)
            if np.isfinite(norm) and np.isfinite(losses).all():
                state.updates += 1
                state.barren_steps = 0
                self._settle_suspects()
                state.loss_sum += float(losses.astype(np.float64).sum())
                state.clips += len(losses)
                state.samples_done += batch.cost
                return float(losses.mean()), norm
            offenders = self._offenders(batch, losses)
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
                "Resume from an earlier checkpoint with a lower rate (--force_initialize_learning_rate "
                f"--learning_rate {state.learning_rate / 10:.3g}) or with --max_grad_norm 5, or look at the clips "
                "that rejected.csv and the warnings name."
            )
        return None

    def _step(self, batch: SharedBatch, learning_rate: float, *, apply: bool = True) -> tuple[np.ndarray, float]:
        """The losses of all samples, and the norm of the gradient."""
        keys = clip_keys(batch.own.samples, seed=self._seed, step=self._state.step)
        return self._backend.train_step(
            batch.own, keys, learning_rate=learning_rate, updates=self._state.updates, apply=apply, part=batch.part
        )

    def _offenders(self, batch: SharedBatch, losses: np.ndarray) -> list[tuple[Sample, str]]:
        """What makes a step's loss or gradient not finite: each sample is tried alone if the losses do not tell."""
        found = [
            (sample, f"has a loss of {loss}")
            for sample, loss in zip(batch.samples, losses, strict=True)
            if not np.isfinite(loss)
        ]
        if found:
            return found
        for sample in batch.samples:
            alone = batch.without(s.id for s in batch.samples if s.id != sample.id)
            _, norm = self._step(alone, 0.0, apply=False)
            if not np.isfinite(norm):
                found.append((sample, "has a gradient that is not finite"))
        return found

    def _settle_suspects(self) -> None:
        """After an update that worked: steps without a good sample before it were the fault of their samples."""
        suspects, self._state.suspects = self._state.suspects, {}
        for sample in self._samples.with_ids(set(suspects)) if suspects else ():
            self._offence(sample, suspects[sample.id])

    def _offence(self, sample: Sample, reason: str) -> None:
        state = self._state
        state.offences[sample.id] = state.offences.get(sample.id, 0) + 1
        quarantined = state.offences[sample.id] >= OFFENCES_TO_QUARANTINE
        if quarantined:
            state.quarantine[sample.id] = reason
            self._save_rejections()
        self._events.emit(BadClip(sample.id, sample.path, reason, state.step, quarantined))

    def _save_rejections(self) -> None:
        quarantine = self._state.quarantine
        self._saver.save_rejections(
            [
                Rejection(s.csv_path, s.row, s.path, s.content, "quarantined", quarantine[s.id])
                for s in self._samples.with_ids(set(quarantine))
            ]
        )
