"""The command `lm_optimizer.py`: the alpha and beta of a scorer with which a model makes the fewest errors.

The network runs once: its probabilities of all clips are kept on the volume, and each trial only decodes. The trials
are kept there too, so that a search that was interrupted, or is to have more trials, goes on.
"""

import argparse
import hashlib
import html
import io
import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio import AudioError, read_audio
from deepspeech_training.checkpoint_file import DamagedCheckpoint, read_arrays, read_state, write_arrays, write_state
from deepspeech_training.console import Console
from deepspeech_training.decoding.beam import BeamDecoder, usable_cores
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
from deepspeech_training.inference.cli import without_delegate_notice
from deepspeech_training.inference.posteriors import Posteriors
from deepspeech_training.metrics import Result, SetReport
from deepspeech_training.samples import read_rows
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.package import TRAILER, set_alpha_beta

DEFAULT_FOLDER = "persistent-data/lm_optimizer"
DEFAULT_TRIALS = 200  # for two numbers; DeepSpeech's 2400 find nothing better
DEFAULT_WIDTH = 100
LISTED_FAULTS = 20
SEED = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    flags, console = parser().parse_args(argv), Console()
    try:
        _check(flags, console)
        print(search(flags, console), flush=True)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        console.info("interrupted; the same command goes on with the next trial")
        return 130
    return EXIT_OK


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lm_optimizer.py", description="Find the best --lm_alpha and --lm_beta for a model and a scorer.",
        allow_abbrev=False, epilog="Example: python bin/lm_optimizer.py --model model.tflite --scorer my.scorer "
        "--dev_files dev.csv --write",
    )  # fmt: skip
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument("--scorer", "--scorer_path", required=True, dest="scorer", metavar="FILE", help="the scorer")
    parser.add_argument("--dev_files", default="", metavar="FILES", help="CSV files to search on, with commas between")
    parser.add_argument(
        "--test_files", default="", metavar="FILES", help="the same, with a warning: see docs/scorer.md"
    )
    numbers = (
        ("--n_trials", int, DEFAULT_TRIALS, "trials in all, those of an earlier start counted"),
        ("--lm_alpha_max", float, 5.0, "the largest alpha to try"),
        ("--lm_beta_max", float, 5.0, "the largest beta to try"),
        ("--beam_width", int, DEFAULT_WIDTH, "prefixes that the decoder keeps"),
    )
    for name, kind, default, text in numbers:
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument(
        "--metric", choices=("wer", "cer"), help="what to make small (default: wer, for scorers in bytes mode cer)"
    )
    parser.add_argument("--write", action="store_true", help="write the best weights into the scorer as its defaults")
    parser.add_argument("--plot", metavar="FILE", help="where the plot of the search goes (default: in --folder)")
    parser.add_argument(
        "--folder",
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help=f"what is kept between starts (default: {DEFAULT_FOLDER})",
    )
    return parser


def _check(flags: argparse.Namespace, console: Console) -> None:
    if not flags.dev_files and not flags.test_files:
        raise FlagError("there is nothing to search on: name CSV files with --dev_files")
    for name in ("n_trials", "beam_width"):
        if getattr(flags, name) < 1:
            raise FlagError(f"--{name} {getattr(flags, name)}: it must be 1 or more")
    for name in ("lm_alpha_max", "lm_beta_max"):
        if not 0 < getattr(flags, name) < math.inf:
            raise FlagError(f"--{name} {getattr(flags, name)}: it must be above 0")
    if flags.test_files:
        console.warn(
            "the search on --test_files fits the weights to these clips: their WER is then no longer that of a test\n"
            "Search on --dev_files, and test once with the result."
        )


@dataclass(frozen=True)
class Clips:
    """The probabilities of clips and what was said.

    Args:
        probs: float32 [frames, classes] of each clip.
        names, transcripts: by clip.
    """

    probs: list[np.ndarray]
    names: list[str]
    transcripts: list[str]


def search(flags: argparse.Namespace, console: Console) -> str:
    """Search, write what is to be written, and return the lines for stdout."""
    optuna = _optuna()
    scorer = Scorer.read(flags.scorer)
    metric = flags.metric or ("cer" if scorer.bytes_mode else "wer")
    folder = Path(flags.folder)
    paths = [path for path in f"{flags.dev_files},{flags.test_files}".split(",") if path]
    with without_delegate_notice():
        network = Posteriors(flags.model, num_threads=usable_cores())
    labels = None if network.file.bytes_mode else network.file.labels
    scorer.check_labels(labels)
    clips_key, clips = _clips(network, paths, folder, console)

    def errors(alpha: float, beta: float, scorer: Scorer | None = scorer) -> float:
        weights = {"alpha": alpha, "beta": beta} if scorer else {}
        decoder = BeamDecoder(labels, width=flags.beam_width, scorer=scorer, say=console.info, **weights)
        found = decoder.decode_batch(clips.probs)
        texts = [network.file.text(best[0].labels) for best in found]
        results = (Result(*fields, 0.0) for fields in zip(clips.names, clips.transcripts, texts, strict=True))
        return getattr(SetReport("", tuple(results)), metric)

    without = errors(0, 0, None)
    console.info(f"without a scorer: {metric.upper()} {without:.6f}")
    settings = [clips_key, _content_key(flags.scorer), metric, flags.beam_width, flags.lm_alpha_max, flags.lm_beta_max]
    study = _study(optuna, folder, _key(*settings))
    done = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))
    if done:
        console.info(f"{done:,} trials are there from an earlier start")
    else:
        alpha, beta = (
            min(max(value, 0), most)
            for value, most in ((scorer.alpha, flags.lm_alpha_max), (scorer.beta, flags.lm_beta_max))
        )
        study.enqueue_trial({"lm_alpha": alpha, "lm_beta": beta})

    def objective(trial: Any) -> float:
        alpha = trial.suggest_float("lm_alpha", 0, flags.lm_alpha_max)
        return errors(alpha, trial.suggest_float("lm_beta", 0, flags.lm_beta_max))

    with console.progress("searching alpha and beta", total=flags.n_trials, unit="trials", start=done) as progress:
        study.optimize(
            objective, n_trials=max(0, flags.n_trials - done),
            callbacks=[lambda study, _: progress.update(note=f"best {metric.upper()} {study.best_value:.4f}")],
        )  # fmt: skip
    best = study.best_params
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    plot = Path(flags.plot) if flags.plot else folder / f"{Path(flags.scorer).stem}.html"
    write_atomically(plot, [plot_html(trials, metric, f"{flags.scorer} with {flags.model}").encode()])
    console.info(f"plot of the search: {plot}")
    if flags.write:
        set_alpha_beta(Path(flags.scorer), alpha=best["lm_alpha"], beta=best["lm_beta"])
        console.info(f"{flags.scorer}: these weights are its defaults now")
    lines = [
        f"{metric.upper()} on {len(clips.probs):,} clips: {without:.6f} without the scorer, {trials[0].value:.6f} with "
        f"alpha {trials[0].params['lm_alpha']:.4g} and beta {trials[0].params['lm_beta']:.4g}, "
        f"{study.best_value:.6f} with the best of {len(trials):,} trials:",
        f"--lm_alpha {best['lm_alpha']:.6g} --lm_beta {best['lm_beta']:.6g}",
    ]
    return "\n".join(lines)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("the search needs optuna\nInstall it: pip install optuna, or '.[tools]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, folder: Path, key: str) -> Any:
    """The search with these settings, begun or gone on with; every trial is on the disk when it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "trials.log"))
    storage = optuna.storages.JournalStorage(backend)
    names = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    study = optuna.create_study(storage=storage, study_name=key, load_if_exists=key in names)
    # With the same seed the sampler would repeat itself after each start.
    study.sampler = optuna.samplers.TPESampler(seed=SEED + len(study.get_trials(deepcopy=False)))
    return study


def _clips(network: Posteriors, paths: Sequence[str], folder: Path, console: Console) -> tuple[str, Clips]:
    """The probabilities of all clips, computed or as they were kept, and a key that changes with them."""
    jobs, faults = _jobs(paths)
    key = _key(hashlib.sha256(network.file.data).hexdigest(), *jobs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--folder {folder}: this folder cannot be made: {error.strerror}") from error
    state_path, arrays_path = folder / f"{key}.json", folder / f"{key}.safetensors"
    clips = _kept_clips(state_path, arrays_path)
    if clips is None:
        clips, unreadable = _computed_clips(network, jobs, console)
        arrays = {"probs": np.concatenate(clips.probs), "frames": np.array([len(probs) for probs in clips.probs])}
        checksum = write_arrays(arrays_path, arrays)
        faults += unreadable
        state = {"names": clips.names, "transcripts": clips.transcripts, "faults": faults, "sha256": checksum}
        write_state(state_path, state)
    for line in faults[:LISTED_FAULTS]:
        console.warn(line)
    if faults:
        console.warn(f"{len(faults):,} clips are left out of the search")
    console.info(f"{len(clips.probs):,} clips, {sum(map(len, clips.probs)):,} frames")
    return key, clips


def _jobs(paths: Sequence[str]) -> tuple[list[tuple[str, str, int, int]], list[str]]:
    """(path, transcript, size, time of the last change) of every clip, and the rows that cannot be used."""
    jobs, faults = [], []
    for csv_path in paths:
        for row in read_rows(csv_path):
            path = Path(csv_path).parent / row.wav_filename
            try:
                status = path.stat()
            except OSError as error:
                row_fault = row.fault or f"{path}: {error.strerror}"
                faults.append(f"{csv_path}, row {row.row}: {row_fault}")
                continue
            if row.fault or not row.transcript.strip():
                faults.append(f"{csv_path}, row {row.row}: {row.fault or 'the transcript is empty'}")
            else:
                jobs.append((str(path), row.transcript, status.st_size, status.st_mtime_ns))
    if not jobs:
        raise UserError(f"{', '.join(paths)}: there are no clips to search on\n" + "\n".join(faults[:LISTED_FAULTS]))
    return jobs, faults


def _kept_clips(state_path: Path, arrays_path: Path) -> Clips | None:
    if not state_path.exists():
        return None
    try:
        state = read_state(state_path)
        arrays = read_arrays(arrays_path, sha256=state["sha256"])
    except (DamagedCheckpoint, KeyError):
        return None
    probs = np.split(arrays["probs"], np.cumsum(arrays["frames"])[:-1])
    return Clips(probs, state["names"], state["transcripts"])


def _computed_clips(
    network: Posteriors, jobs: Sequence[tuple[str, str, int, int]], console: Console
) -> tuple[Clips, list[str]]:
    def compute(job: tuple[str, str, int, int]) -> np.ndarray | str:
        try:
            audio = read_audio(job[0], sample_rate=network.file.geometry.sample_rate)
        except AudioError as error:
            return f"{job[0]}: {error}"
        return network(np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16))

    clips, faults = Clips([], [], []), []
    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        console.progress("running the network", total=len(jobs), unit="clips") as progress,
    ):
        for job, result in zip(jobs, pool.map(compute, jobs), strict=True):
            progress.update()
            if isinstance(result, str):
                faults.append(result)
            else:
                clips.probs.append(result)
                clips.names.append(job[0])
                clips.transcripts.append(job[1])
    if not clips.probs:
        raise UserError("none of the clips can be read\n" + "\n".join(faults[:LISTED_FAULTS]))
    return clips, faults


def _content_key(scorer_path: str) -> str:
    """A key of a scorer that stays when its default weights change."""
    data = Path(scorer_path).read_bytes()
    start = trie_size(data, scorer_path)
    return hashlib.sha256(data[:start] + data[start + TRAILER.size :]).hexdigest()


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def plot_html(trials: Sequence[Any], metric: str, title: str) -> str:
    """A page with two plots: the errors over alpha and beta, and the best so far over the trials."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "lm_optimizer"  # the same search gives the same file
    alphas, betas = ([trial.params[name] for trial in trials] for name in ("lm_alpha", "lm_beta"))
    values = [trial.value for trial in trials]
    best = int(np.argmin(values))
    figure = Figure(figsize=(12, 5), layout="constrained")
    over_weights, over_trials = figure.subplots(1, 2)
    shades = over_weights.scatter(alphas, betas, c=values, cmap="viridis_r", s=18)
    over_weights.plot(alphas[best], betas[best], "rx", markersize=12)
    over_weights.set(xlabel="lm_alpha", ylabel="lm_beta", title=f"{metric.upper()} of each trial; the best is crossed")
    figure.colorbar(shades, ax=over_weights)
    over_trials.plot(np.arange(1, len(values) + 1), np.minimum.accumulate(values))
    over_trials.set(xlabel="trials", ylabel=f"best {metric.upper()}", title=f"best: {values[best]:.4f}")
    picture = io.StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = picture.getvalue()
    return (
        f'<!doctype html>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<h1>{html.escape(title)}</h1>\n'
        f"{svg[svg.index('<svg') :]}\n<p>lm_alpha {alphas[best]:.6g}, lm_beta {betas[best]:.6g}: "
        f"{metric.upper()} {values[best]:.6f}</p>\n"
    )


if __name__ == "__main__":
    sys.exit(main())
