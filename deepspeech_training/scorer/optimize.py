"""The alpha and beta of a scorer, and if asked the beam width, with which a model makes the fewest errors.

The network runs once: its probabilities of all clips are kept on the volume, and each trial only decodes. The trials
are kept there too, so that a search that was interrupted, or shall have more trials, is resumed.

Which alpha and beta are best depends on the beam width (docs/results.md has a model that makes a tenth more errors with
the weights of another width). So where several widths are to be tried, each has a search of its own that begins with
the best weights of the one before; one search over all of them would leave most widths with a handful of trials. With
its own weights a wider beam is seldom worse, and always slower: the narrowest is taken that is as good as the best.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.reporting.metrics import Result, SetReport
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.optimize_clips import Clips, key_of, network_of_checkpoint, read_clips
from deepspeech_training.scorer.optimize_plot import Trial, plot_html, table
from deepspeech_training.scorer.package import TRAILER, set_alpha_beta

DEFAULT_FOLDER = "persistent-data/lm_optimizer"
DEFAULT_TRIALS = 200  # for two numbers; DeepSpeech's 2400 find nothing better
DEFAULT_WIDTH = 100
DEFAULT_TOLERANCE = 0.001
SEED = 4


@dataclass(frozen=True)
class Search:
    """What is searched, and where.

    Args:
        scorer: path of the scorer.
        model, checkpoint_dir: the exported model, or a folder of checkpoints instead.
        csvs: what to search on.
        beam_widths: prefixes that the decoder keeps, in rising order.
        metric: what to make small, "wer" or "cer"; None: wer, for scorers in bytes mode cer.
        n_trials: for each beam width, those of an earlier start counted.
        lm_alpha_max, lm_beta_max: the largest weights to try.
        beam_tolerance: how much higher than the lowest the error rate may be with a narrower beam.
        write: make the best weights the scorer's defaults.
        plot: where the plot goes; None: into `folder`, where what is kept between starts is.
    Raises:
        FlagError: a value is out of bounds.
    """

    scorer: str
    model: str = ""
    checkpoint_dir: str = ""
    csvs: Sequence[str] = ()
    beam_widths: Sequence[int] = (DEFAULT_WIDTH,)
    metric: str | None = None
    n_trials: int = DEFAULT_TRIALS
    lm_alpha_max: float = 5.0
    lm_beta_max: float = 5.0
    beam_tolerance: float = DEFAULT_TOLERANCE
    write: bool = False
    plot: str | None = None
    folder: str = DEFAULT_FOLDER

    def __post_init__(self) -> None:
        if not self.csvs:
            raise FlagError("there is nothing to search on: name CSV files with --dev_files")
        if self.n_trials < 1:
            raise FlagError(f"--n_trials {self.n_trials}: it must be 1 or more")
        if not 0 <= self.beam_tolerance < math.inf:
            raise FlagError(f"--beam_tolerance {self.beam_tolerance}: it must be 0 or more")
        for name in ("lm_alpha_max", "lm_beta_max"):
            if not 0 < getattr(self, name) < math.inf:
                raise FlagError(f"--{name} {getattr(self, name)}: it must be above 0")


class Decoding:
    """The clips, decoded with any weights and beam width.

    Args:
        network: the model, for its labels.
        clips: their probabilities.
        console: says when the beam search is compiled.
    """

    def __init__(self, network: Model, clips: Clips, console: Console):
        self._file, self._clips, self._console = network.file, clips, console
        self._labels = None if network.file.bytes_mode else network.file.labels
        geometry = network.file.geometry
        self._audio_min = clips.num_frames * network.file.stride * geometry.step_samples / geometry.sample_rate / 60

    def __call__(self, width: int, alpha: float = 0, beta: float = 0, *, scorer: Scorer | None = None) -> Trial:
        """Errors and cost at a beam width, without a scorer or with one and its weights."""
        decoder = BeamDecoder(self._labels, width=width, scorer=scorer, alpha=alpha, beta=beta, say=self._console.info)
        started = time.process_time()
        found = decoder.decode_batch(self._clips.probs)
        cost = (time.process_time() - started) / self._audio_min
        texts = [self._file.text(best[0].labels) for best in found]
        results = zip(self._clips.names, self._clips.transcripts, texts, strict=True)
        report = SetReport("", tuple(Result(*fields, 0.0) for fields in results))
        return Trial(width, alpha, beta, report.wer, report.cer, cost)


def search(wanted: Search, console: Console) -> list[str]:
    """Search, write what is to be written, and return the lines for stdout."""
    optuna = _optuna()
    scorer = Scorer.read(wanted.scorer)
    metric = wanted.metric or ("cer" if scorer.bytes_mode else "wer")
    folder = Path(wanted.folder)
    source = wanted.model or wanted.checkpoint_dir
    with without_delegate_notice():
        network = Model(wanted.model) if wanted.model else network_of_checkpoint(wanted.checkpoint_dir, console)
    scorer.check_labels(None if network.file.bytes_mode else network.file.labels)
    clips_key, clips = read_clips(network, wanted.csvs, folder, console)
    decoding = Decoding(network, clips, console)
    settings = [clips_key, _content_key(wanted.scorer), metric, wanted.lm_alpha_max, wanted.lm_beta_max]
    found: dict[int, list[Trial]] = {}
    start = (scorer.alpha, scorer.beta)
    for width in wanted.beam_widths:
        study = _study(optuna, folder, key_of(*settings, width))
        found[width] = _search(optuna, study, decoding, scorer, width, start, wanted, metric, console)
        best = min(found[width], key=lambda trial: getattr(trial, metric))
        start = (best.alpha, best.beta)
    ladder = [min(trials, key=lambda trial: getattr(trial, metric)) for trials in found.values()]
    chosen = narrowest(ladder, metric, wanted.beam_tolerance)
    plot = Path(wanted.plot) if wanted.plot else folder / f"{Path(wanted.scorer).stem}.html"
    page = plot_html(found[chosen.width], ladder, chosen, metric, f"{wanted.scorer} with {source}")
    write_atomically(plot, [page.encode()])
    console.info(f"plot of the search: {plot}")
    if wanted.write:
        set_alpha_beta(Path(wanted.scorer), alpha=chosen.alpha, beta=chosen.beta)
        console.info(f"{wanted.scorer}: these weights are its defaults now; a scorer has no place for the beam width")
    without, first = decoding(chosen.width), found[chosen.width][0]
    lines = [
        f"{metric.upper()} on {len(clips.probs):,} clips at beam width {chosen.width}: {getattr(without, metric):.6f} "
        f"without the scorer, {getattr(first, metric):.6f} with alpha {first.alpha:.4g} and beta {first.beta:.4g}, "
        f"{getattr(chosen, metric):.6f} with the best of {len(found[chosen.width]):,} trials",
    ]
    if len(ladder) > 1:
        lines += table(ladder)
        lines.append(f"beam width {chosen.width} is the narrowest within {wanted.beam_tolerance:g} of the best")
    lines.append(f"--lm_alpha {chosen.alpha:.6g} --lm_beta {chosen.beta:.6g} --beam_width {chosen.width}")
    return lines


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("the search needs optuna\nInstall it: pip install optuna, or '.[tools]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, folder: Path, key: str) -> Any:
    """The search with these settings, begun or resumed; every trial is on the disk when it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "trials.log"))
    storage = optuna.storages.JournalStorage(backend)
    names = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    study = optuna.create_study(storage=storage, study_name=key, load_if_exists=key in names)
    # With the same seed the sampler would repeat itself after each start.
    study.sampler = optuna.samplers.TPESampler(seed=SEED + len(study.get_trials(deepcopy=False)))
    return study


def _search(
    optuna: Any,
    study: Any,
    decoding: Decoding,
    scorer: Scorer,
    width: int,
    start: tuple[float, float],
    wanted: Search,
    metric: str,
    console: Console,
) -> list[Trial]:
    """Do the trials of a beam width that are left, and return all; the first has the scorer's own weights.

    Args:
        start: the weights of the second trial, where they are others.
    """
    complete = (optuna.trial.TrialState.COMPLETE,)
    done = len(study.get_trials(deepcopy=False, states=complete))
    if done:
        console.info(f"beam width {width}: {done:,} trials are there from an earlier start")
    else:
        for alpha, beta in dict.fromkeys([(scorer.alpha, scorer.beta), start]):
            within = min(max(alpha, 0), wanted.lm_alpha_max), min(max(beta, 0), wanted.lm_beta_max)
            study.enqueue_trial(dict(zip(("lm_alpha", "lm_beta"), within, strict=True)))

    def objective(trial: Any) -> float:
        alpha = trial.suggest_float("lm_alpha", 0, wanted.lm_alpha_max)
        found = decoding(width, alpha, trial.suggest_float("lm_beta", 0, wanted.lm_beta_max), scorer=scorer)
        trial.set_user_attr("found", list(found))
        return found.wer if metric == "wer" else found.cer

    what = f"searching alpha and beta, beam width {width}"
    with console.progress(what, total=wanted.n_trials, unit="trials", start=done) as progress:
        study.optimize(
            objective,
            n_trials=max(0, wanted.n_trials - done),
            callbacks=[lambda study, _: progress.update(note=f"best {metric.upper()} {study.best_value:.4f}")],
        )
    return [Trial(*trial.user_attrs["found"]) for trial in study.get_trials(deepcopy=False, states=complete)]


def narrowest(ladder: Sequence[Trial], metric: str, tolerance: float) -> Trial:
    """The narrowest beam whose error rate is the lowest, or higher by the tolerance at most.

    Args:
        ladder: the best trial of each beam width, the narrowest first.

    >>> ladder = [Trial(10, 1, 1, 0.3), Trial(50, 2, 1, 0.2004), Trial(500, 1, 1, 0.2)]
    >>> narrowest(ladder, "wer", 0.001).width, narrowest(ladder, "wer", 0).width
    (50, 500)
    """
    most = min(getattr(trial, metric) for trial in ladder) + tolerance
    return next(trial for trial in ladder if getattr(trial, metric) <= most)


def _content_key(scorer_path: str) -> str:
    """A key of a scorer that stays when its default weights change."""
    data = Path(scorer_path).read_bytes()
    start = trie_size(data, scorer_path)
    return hashlib.sha256(data[:start] + data[start + TRAILER.size :]).hexdigest()
