"""The command `lm_optimizer.py`: the alpha and beta of a scorer, and if asked the beam width, with which a model makes
the fewest errors.

The network runs once: its probabilities of all clips are kept on the volume, and each trial only decodes. The trials
are kept there too, so that a search that was interrupted, or is to have more trials, goes on.

Which alpha and beta are best depends on the beam width (docs/results.md has a model that makes a tenth more errors with
the weights of another width). So where several widths are to be tried, each has a search of its own that begins with
the best weights of the one before; one search over all of them would leave most widths with a handful of trials. With
its own weights a wider beam is seldom worse, and always slower: the narrowest is taken that is as good as the best.
"""

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.decoding.beam import LARGEST_BEAM, BeamDecoder
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    flags, console = parser().parse_args(argv), Console()
    try:
        _check(flags, console)
        print("\n".join(search(flags, console)), flush=True)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        console.info("interrupted; the same command goes on with the next trial")
        return 130
    return EXIT_OK


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lm_optimizer.py",
        allow_abbrev=False,
        description="Find the best --lm_alpha, --lm_beta and --beam_width for a model and a scorer.",
        epilog="Example: python bin/lm_optimizer.py --model model.tflite --scorer my.scorer --dev_files dev.csv "
        "--beam_width 50,100,200,500 --write",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="FILE", help="the exported model, a .tflite")
    source.add_argument(
        "--checkpoint_dir", metavar="DIR", help="or a folder of checkpoints: the best one, else the last, in float32"
    )
    parser.add_argument("--scorer", "--scorer_path", required=True, dest="scorer", metavar="FILE", help="the scorer")
    parser.add_argument("--dev_files", default="", metavar="FILES", help="CSV files to search on, with commas between")
    parser.add_argument(
        "--test_files", default="", metavar="FILES", help="the same, with a warning: see docs/scorer.md"
    )
    numbers = (
        ("--n_trials", int, DEFAULT_TRIALS, "trials for each beam width, those of an earlier start counted"),
        ("--lm_alpha_max", float, 5.0, "the largest alpha to try"),
        ("--lm_beta_max", float, 5.0, "the largest beta to try"),
        (
            "--beam_tolerance",
            float,
            DEFAULT_TOLERANCE,
            "how much higher than the lowest the error rate may be with a narrower beam, for that one to be taken",
        ),
    )
    for name, kind, default, text in numbers:
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument(
        "--beam_width",
        type=_widths,
        default=(DEFAULT_WIDTH,),
        metavar="N,N,...",
        help=f"prefixes that the decoder keeps (default: {DEFAULT_WIDTH}); with several, as in 50,100,200,500, the "
        "narrowest one is named that is as good as the best",
    )
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


def _widths(text: str) -> tuple[int, ...]:
    """A list of beam widths, in order, each once.

    >>> _widths("100,25,100")
    (25, 100)
    """
    try:
        widths = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: it must be a whole number, or several with commas") from None
    if not 1 <= widths[0] <= widths[-1] <= LARGEST_BEAM:
        raise argparse.ArgumentTypeError(f"{text}: it must be from 1 to {LARGEST_BEAM}")
    return widths


def _check(flags: argparse.Namespace, console: Console) -> None:
    if not flags.dev_files and not flags.test_files:
        raise FlagError("there is nothing to search on: name CSV files with --dev_files")
    if flags.n_trials < 1:
        raise FlagError(f"--n_trials {flags.n_trials}: it must be 1 or more")
    if not 0 <= flags.beam_tolerance < math.inf:
        raise FlagError(f"--beam_tolerance {flags.beam_tolerance}: it must be 0 or more")
    for name in ("lm_alpha_max", "lm_beta_max"):
        if not 0 < getattr(flags, name) < math.inf:
            raise FlagError(f"--{name} {getattr(flags, name)}: it must be above 0")
    if flags.test_files:
        console.warn(
            "the search on --test_files fits the weights to these clips: their WER is then no longer that of a test\n"
            "Search on --dev_files, and test once with the result."
        )


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
        weights = {"scorer": scorer, "alpha": alpha, "beta": beta} if scorer else {}
        decoder = BeamDecoder(self._labels, width=width, say=self._console.info, **weights)
        started = time.process_time()
        found = decoder.decode_batch(self._clips.probs)
        cost = (time.process_time() - started) / self._audio_min
        texts = [self._file.text(best[0].labels) for best in found]
        results = zip(self._clips.names, self._clips.transcripts, texts, strict=True)
        report = SetReport("", tuple(Result(*fields, 0.0) for fields in results))
        return Trial(width, alpha, beta, report.wer, report.cer, cost)


def search(flags: argparse.Namespace, console: Console) -> list[str]:
    """Search, write what is to be written, and return the lines for stdout."""
    optuna = _optuna()
    scorer = Scorer.read(flags.scorer)
    metric = flags.metric or ("cer" if scorer.bytes_mode else "wer")
    folder = Path(flags.folder)
    paths = [path for path in f"{flags.dev_files},{flags.test_files}".split(",") if path]
    source = flags.model or flags.checkpoint_dir
    with without_delegate_notice():
        network = network_of_checkpoint(flags.checkpoint_dir, console) if flags.checkpoint_dir else Model(flags.model)
    scorer.check_labels(None if network.file.bytes_mode else network.file.labels)
    clips_key, clips = read_clips(network, paths, folder, console)
    decoding = Decoding(network, clips, console)
    settings = [clips_key, _content_key(flags.scorer), metric, flags.lm_alpha_max, flags.lm_beta_max]
    found: dict[int, list[Trial]] = {}
    start = (scorer.alpha, scorer.beta)
    for width in flags.beam_width:
        study = _study(optuna, folder, key_of(*settings, width))
        found[width] = _search(optuna, study, decoding, scorer, width, start, flags, metric, console)
        best = min(found[width], key=lambda trial: getattr(trial, metric))
        start = (best.alpha, best.beta)
    ladder = [min(trials, key=lambda trial: getattr(trial, metric)) for trials in found.values()]
    chosen = narrowest(ladder, metric, flags.beam_tolerance)
    plot = Path(flags.plot) if flags.plot else folder / f"{Path(flags.scorer).stem}.html"
    page = plot_html(found[chosen.width], ladder, chosen, metric, f"{flags.scorer} with {source}")
    write_atomically(plot, [page.encode()])
    console.info(f"plot of the search: {plot}")
    if flags.write:
        set_alpha_beta(Path(flags.scorer), alpha=chosen.alpha, beta=chosen.beta)
        console.info(f"{flags.scorer}: these weights are its defaults now; a scorer has no place for the beam width")
    without, first = decoding(chosen.width), found[chosen.width][0]
    lines = [
        f"{metric.upper()} on {len(clips.probs):,} clips at beam width {chosen.width}: {getattr(without, metric):.6f} "
        f"without the scorer, {getattr(first, metric):.6f} with alpha {first.alpha:.4g} and beta {first.beta:.4g}, "
        f"{getattr(chosen, metric):.6f} with the best of {len(found[chosen.width]):,} trials",
    ]
    if len(ladder) > 1:
        lines += table(ladder)
        lines.append(f"beam width {chosen.width} is the narrowest within {flags.beam_tolerance:g} of the best")
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
    """The search with these settings, begun or gone on with; every trial is on the disk when it ends."""
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
    flags: argparse.Namespace,
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
            within = min(max(alpha, 0), flags.lm_alpha_max), min(max(beta, 0), flags.lm_beta_max)
            study.enqueue_trial(dict(zip(("lm_alpha", "lm_beta"), within, strict=True)))

    def objective(trial: Any) -> float:
        alpha = trial.suggest_float("lm_alpha", 0, flags.lm_alpha_max)
        found = decoding(width, alpha, trial.suggest_float("lm_beta", 0, flags.lm_beta_max), scorer=scorer)
        trial.set_user_attr("found", list(found))
        return getattr(found, metric)

    what = f"searching alpha and beta, beam width {width}"
    with console.progress(what, total=flags.n_trials, unit="trials", start=done) as progress:
        study.optimize(
            objective,
            n_trials=max(0, flags.n_trials - done),
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


if __name__ == "__main__":
    sys.exit(main())
