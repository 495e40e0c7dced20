"""A `Run` -> devices, task, weights and a trainer: where a training begins or resumes, and TensorFlow is imported."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.checkpoints.describe import Checkpoint
from deepspeech_training.checkpoints.source import Source
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config import as_dict, to_flag_lines
from deepspeech_training.data.loader import Loader
from deepspeech_training.data.plan import BatchRules, Plan
from deepspeech_training.data.sample_list import limit_fairly
from deepspeech_training.errors import UserError
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.machine.gpu_monitor import GpuMonitor
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.reporting.events import Sink
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.reporting.tensorboard import TensorBoard
from deepspeech_training.tasks.base import Hears, TakesWeights
from deepspeech_training.training import announce
from deepspeech_training.training.agreement import check_same
from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND
from deepspeech_training.training.backends.base import Alone, Backend, Machine, Peers, UpdateRules
from deepspeech_training.training.loop import Trainer, TrainingData
from deepspeech_training.training.memory import memory_for_audio, try_heaviest_batches
from deepspeech_training.training.run import Run
from deepspeech_training.training.saver import Saver
from deepspeech_training.training.schedule import Schedule, ScheduleState, figure_to_judge_by
from deepspeech_training.training.state import RunState
from deepspeech_training.version import VERSION

MAX_CLIPS_TO_MEASURE = 5000  # of --train_files, for --normalise_features


def set_up(run: Run) -> Machine:
    """Import TensorFlow on the devices that were chosen.

    Raises:
        UserError: it cannot use the GPU that --mode gpu demands.
    """
    choice = run.call.device
    run.call.say_kind()
    run.console.say(*choice.line)
    run.log.update(mode=choice.mode, chosen=[gpu.uuid for gpu in choice.gpus])
    choice.apply(os.environ)
    machine = BACKENDS[DEFAULT_BACKEND].set_up(run.config.performance, run.call.cluster, run.console.warn)
    if choice.uses_gpu and not machine.on_gpu:
        what = (
            "TensorFlow does not see the GPU that was chosen: it was installed without CUDA, or its libraries are "
            "not there\nInstall them (pip install 'deepspeech_training[gpu]'); `doctor` says more."
        )
        if choice.mode == "gpu":
            raise UserError(f"{what} Or use --mode cpu.")
        run.console.warn(f"{what}\nNO GPU IS USED, this runs on the CPU.")
    if machine.on_gpu and not choice.uses_gpu:
        raise UserError("This process has computed on a GPU before, and cannot leave it: use a new one for --mode cpu.")
    return machine


def loader_of(run: Run, **details: Any) -> Loader:
    """A loader with as many threads as the flags say; `details` are the other arguments of `Loader`."""
    threads = run.config.performance.loader_threads or min(usable_cores(), 8)
    return Loader(run.task.load, run.task.spec, threads=threads, **details)


def backend_for_evaluation(run: Run, machine: Machine, source: Source, trained: Backend | None) -> Backend:
    """A backend with the weights of a checkpoint: that of the training, where it can take them, else a new one."""
    checkpoint = source.checkpoint.load()
    weights, progress = checkpoint.weights, checkpoint.model.progress
    epochs = "" if progress.epoch is None else f", after {progress.epoch:,} epochs"
    run.console.info(f"Uses {checkpoint.path} (step {progress.step:,}{epochs})")
    if isinstance(run.task, TakesWeights):
        run.task.take_weights(weights)
    if machine.peers.count > 1:  # the others have ended
        return _backend(run, replace(machine, devices=machine.devices[:1], peers=Alone()), _Start(weights))
    if trained is None or trained.trains_other_weights:
        return _backend(run, machine, _Start(weights))
    trained.set_weights(weights)
    return trained


def train(run: Run, machine: Machine) -> tuple[Backend, RunState, Transfer | None]:
    """Train to the end, from where the run's source says.

    Returns:
        The backend, the state at the end, and what the run took from another one when it began.
    Raises:
        Interrupted: a signal came; the state is saved.
        UserError: a batch does not fit into memory, nothing usable is left to train on, or the disk is full.
    """
    plan, peers = _plan(run, num_devices=machine.num_devices), machine.peers
    check_same(run, machine, plan)
    checkpoint = _checkpoint_to_begin_with(run, peers)
    resumed = checkpoint if run.source.kind == "resume" else None
    state = RunState(learning_rate=run.config.optimizer.learning_rate)
    if resumed is not None:
        state = RunState.from_json(peers.exchange(resumed.model.run)[0], run.task.metrics)
    log: JsonLines | None = None
    sinks: list[Sink] = []
    sessions: list[str] = []
    if run.call.is_first:
        log, sinks = _sinks(run, resumed, state)
        sessions = run.log.continue_run([] if resumed is None else resumed.model.sessions)
        write_atomically(run.folder.folder / "flags.txt", [("\n".join(to_flag_lines(run.config)) + "\n").encode()])
    start = _start(run, machine, checkpoint)
    backend = _backend(run, machine, start)
    if machine.on_gpu and run.call.is_first:
        sinks.append(GpuMonitor(run.events))
    with run.events.also_to(*sinks):
        announce.start(run, machine, plan, start.transfer)
        announce.source_of_weights(run, machine, start.transfer, resumed, state)
        _settle_plan(run, state, plan)
        if resumed is not None:
            backend.set_state(peers.from_first(resumed.arrays))
            _settle_schedule(run, state, resumed)
        _settle_rate(run, state)
        _train(run, machine, backend, plan, state, log, _description(run, machine, start.transfer, sessions))
        if log is not None:
            announce.outcome(run, state, log.path)
    if state.quarantine:
        run.console.warn(
            f"{len(state.quarantine):,} clips were left out in training: {run.folder.folder / 'rejected.csv'}"
        )
    return backend, state, start.transfer


def _sinks(run: Run, resumed: Checkpoint | None, state: RunState) -> tuple[JsonLines, list[Sink]]:
    """events.jsonl, as long as it was at the checkpoint, and all that the training is told to."""
    log = JsonLines(run.folder.folder / "events.jsonl")
    # Without a checkpoint to resume, what the log has is of a run that was killed before its first.
    log.cut_back(0 if resumed is None else resumed.model.log_length)
    sinks: list[Sink] = [log]
    if run.config.reporting.summary_dir:
        sinks.append(TensorBoard(Path(run.config.reporting.summary_dir), resumed_step=state.step))
    return log, sinks


@dataclass(frozen=True)
class _Start:
    """What a training begins with.

    Args:
        weights: by canonical name.
        transfer: what of them comes from another run, as it was read.
        normalisation: of the features; None for none.
    """

    weights: Mapping[str, np.ndarray]
    transfer: Transfer | None = None
    normalisation: Normalisation | None = None


def _plan(run: Run, *, num_devices: int) -> Plan:
    config = run.config
    return Plan(
        run.samples("train"),
        BatchRules(
            batch_size=config.batches.train_batch_size * num_devices,
            batch_seconds=config.batches.batch_seconds * num_devices,
            shuffle=config.limits.shuffle,
            reverse=config.limits.reverse_train,
            seed=config.training.random_seed,
            unit=run.task.unit.size,
        ),
    )


def _checkpoint_to_begin_with(run: Run, peers: Peers) -> Checkpoint | None:
    """Load the source, None for new weights; checkpoints that do not belong to the run are set aside."""
    source, folder = run.source, run.folder
    checkpoint = None if source.found is None else source.found.load()
    peers.exchange("loaded")  # so that nothing is moved that another worker is about to load
    if not run.call.is_first:
        return checkpoint
    if checkpoint is None or source.kind != "resume":
        aside = folder.set_aside()
        if aside is not None:
            run.console.info(f"A new run begins: the checkpoints that were there are in {aside}")
    elif source.checkpoint.kind == "best":
        aside = folder.set_aside(later_than=checkpoint.model.progress.step)
        if aside is not None:
            run.console.info(f"Later checkpoints than the best one are in {aside}")
    return checkpoint


def _start(run: Run, machine: Machine, checkpoint: Checkpoint | None) -> _Start:
    """The weights of the source, new ones, or some of each."""
    network, transfer = run.task.network, run.prepared.transfer
    resumed = checkpoint if run.source.kind == "resume" else None
    weights: Mapping[str, np.ndarray]
    if resumed is not None:
        weights = resumed.arrays
    else:
        weights = network.initial_weights(seed=run.config.training.random_seed)
        if checkpoint is not None and transfer is not None:
            step = checkpoint.model.progress.step
            transfer = replace(transfer, source=os.path.abspath(checkpoint.path), step=step)
            weights = transfer.weights(checkpoint.arrays, weights, run.prepared.labels)
    weights = machine.peers.from_first(weights)
    if not run.config.geometry.normalise_features:
        return _Start(weights, transfer)
    assert isinstance(network, AcousticModel), "others are refused the flag"
    measured = resumed.arrays if resumed is not None else _measured(run, machine).as_arrays()
    normalisation = Normalisation.from_arrays(machine.peers.from_first(measured))
    assert normalisation is not None, "the flag is fixed in a run"
    if resumed is not None or (transfer is not None and network.groups[0] in transfer.old_layers):
        weights = network.unfold(weights, normalisation)
    return _Start(weights, transfer, normalisation)


def _measured(run: Run, machine: Machine) -> Normalisation:
    """The normalisation of the features of the training clips, or of some of them."""
    config = run.config
    samples = limit_fairly(run.samples("train"), MAX_CLIPS_TO_MEASURE, config.training.random_seed)
    size = config.batches.train_batch_size
    planned = [samples[i : i + size] for i in range(0, len(samples), size)]
    with (
        loader_of(run) as loader,
        run.console.progress("Measuring the features", total=len(planned), unit="batches") as progress,
    ):

        def counted():
            for batch in loader.batches(planned):
                yield batch
                progress.update()

        library = BACKENDS[DEFAULT_BACKEND]
        objective = run.task.objective()
        assert isinstance(objective, Hears), "others are refused the flag"
        computed = library.over_batches(objective.features, counted(), device=machine.devices[0])
        return Normalisation.of(
            features[np.arange(features.shape[1]) < num_frames[:, None]] for _, (features, num_frames) in computed
        )


def _backend(run: Run, machine: Machine, start: _Start) -> Backend:
    config = run.config
    old_layers = () if start.transfer is None else start.transfer.old_layers
    factors = dict.fromkeys(old_layers, config.transfer.source_learning_rate_factor)
    factors |= dict.fromkeys(config.transfer.freeze_layers, 0.0)
    return BACKENDS[DEFAULT_BACKEND].backend(
        run.task,
        start.weights,
        devices=machine.devices,
        peers=machine.peers,
        compute_dtype=machine.compute_dtype,
        rules=UpdateRules(
            beta1=config.optimizer.beta1,
            beta2=config.optimizer.beta2,
            epsilon=config.optimizer.epsilon,
            max_grad_norm=config.training.max_grad_norm,
            weight_decay=config.optimizer.weight_decay,
            ema=config.optimizer.ema,
            rate_factors=factors,
        ),
        training_options=run.task.network.training_options(as_dict(config)),
        normalisation=start.normalisation,
        log=run.console.warn,
    )


def _description(run: Run, machine: Machine, transfer: Transfer | None, sessions: list[str]) -> dict[str, Any]:
    """What each checkpoint says besides the state of the run."""
    return {
        "version": VERSION,
        **run.task.describe(),
        "transfer": None if transfer is None else transfer.as_json(),
        "threads": {"intra_op": machine.intra_op, "inter_op": machine.inter_op},
        "precision": machine.compute_dtype,
        "devices": machine.num_devices,
        "sessions": sessions,
        "augment_sources": dict(run.prepared.recordings),
        "judged_by": [figure.as_json() for figure in run.task.figures],
        "flags": as_dict(run.config),
        "data": [found.as_json() for found in run.data_summary()],
    }


def _settle_plan(run: Run, state: RunState, plan: Plan) -> None:
    """Start an epoch again whose batches have changed."""
    fingerprint = plan.fingerprint()
    if state.plan and state.plan != fingerprint and state.step_in_epoch and state.validation is None:
        run.console.info(
            f"The training clips or their batches have changed: epoch {state.epoch + 1} starts again from its first "
            "batch"
        )
        state.begin_epoch()
    state.plan = fingerprint


def _settle_schedule(run: Run, state: RunState, resumed: Checkpoint) -> None:
    """Figures on other dev sets measure nothing now, and early stopping counts from where it was asked for."""

    def dev_sets(sets: Iterable[Mapping[str, Any]]) -> list[str]:
        return sorted(found["fingerprint"] for found in sets if found["set"] == "dev")

    before, now = dev_sets(resumed.model.data), dev_sets(found.as_json() for found in run.data_summary())
    if state.schedule.best_loss is not None and before != now:
        run.console.info(
            "The dev clips have changed since the checkpoint: best figures, patience and plateaus start over"
            if now
            else "There are no dev clips any more: no checkpoint will be the best one"
        )
        state.schedule = ScheduleState()
        # Nothing is concluded from these figures and those to come together; "earlier_dev" keeps them to be read.
        state.history = [{**entry, "dev": [], "earlier_dev": entry["dev"]} for entry in state.history]
    patience = state.schedule.epochs_without_improvement
    if patience and run.config.early_stop.early_stop and not resumed.model.flags.get("early_stop", False):
        run.console.info(f"--early_stop counts from epoch {state.epoch + 1} on, as the run had none until now")
        state.schedule.epochs_without_improvement = 0


def _settle_rate(run: Run, state: RunState) -> None:
    """--force_initialize_learning_rate sets the rate once, not again each time that the same command is resumed."""
    flag = run.config.optimizer.learning_rate
    if run.config.plateau.force_initialize_learning_rate:
        if state.forced_rate != flag:
            state.forced_rate = flag
            state.learning_rate = flag
            run.console.info(f"Learning rate set to {flag:g} (--force_initialize_learning_rate)")
    elif "learning_rate" in run.call.given and state.step and state.learning_rate != flag:
        run.console.info(
            f"The checkpoint's learning rate {state.learning_rate:g} is kept; "
            f"--force_initialize_learning_rate takes {flag:g}"
        )


def _train(
    run: Run,
    machine: Machine,
    backend: Backend,
    plan: Plan,
    state: RunState,
    log: JsonLines | None,
    description: dict[str, Any],
) -> None:
    config, schedule = run.config, schedule_of(run)
    dev_batch_size = config.batches.dev_batch_size * machine.num_devices
    data = TrainingData(
        plan,
        dev_sets=run.data.sets.get("dev", []),
        metrics_sets=run.data.sets.get("metrics", []),
        dev_batch_size=dev_batch_size,
        reverse_dev=config.limits.reverse_dev,
        renew_every=config.augmentation.cache_for_epochs,
    )
    wanted = config.checkpoint.load_train
    how = "" if wanted in ("auto", "last") else f", with --load_train last instead of {wanted},"
    saver = Saver(
        run.folder,
        description,
        log,
        max_to_keep=config.checkpoint.max_to_keep,
        every_s=config.checkpoint.checkpoint_secs,
        rejected=run.data.rejected,
        how_to_resume=f"the same command{how} resumes there",
    )
    with loader_of(run, static_shapes=machine.on_gpu, keep_bytes=memory_for_audio()) as loader:
        trainer = Trainer(
            backend=backend,
            task=run.task,
            data=data,
            loader=loader,
            schedule=schedule,
            state=state,
            saver=saver,
            events=run.events,
            peers=machine.peers,
        )
        is_over = state.epoch >= schedule.epochs or schedule.stops(state.schedule, state.epoch)
        if not is_over and not config.batches.skip_batch_test:
            try_heaviest_batches(
                backend,
                run.task,
                machine,
                loader,
                [plan.samples[i] for i in plan.heaviest_batch()],
                dev_samples=run.samples("dev"),
                dev_batch_size=dev_batch_size,
                by_seconds=config.batches.batch_seconds > 0,
            )
        trainer.run()


def schedule_of(run: Run) -> Schedule:
    """The schedule that the flags ask for."""
    config = run.config
    return Schedule(
        config.training.epochs,
        figure_to_judge_by(config.checkpoint.best_by, run.task),
        config.early_stop,
        config.plateau,
        config.optimizer,
        reduces_rate=config.reduces_rate_on_plateau,
    )
