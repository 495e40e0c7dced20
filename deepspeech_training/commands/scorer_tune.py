"""`deepspeech scorer tune`: the best --lm_alpha, --lm_beta and --beam_width for a model and a scorer."""

import argparse

from deepspeech_training.console import Console
from deepspeech_training.decoding.beam import LARGEST_BEAM
from deepspeech_training.scorer.optimize import (
    DEFAULT_FOLDER,
    DEFAULT_TOLERANCE,
    DEFAULT_TRIALS,
    DEFAULT_WIDTH,
    Search,
    search,
)


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Find the best --lm_alpha, --lm_beta and --beam_width for a model and a scorer.",
        epilog="Example: deepspeech scorer tune --model model.tflite --scorer my.scorer --dev_files dev.csv "
        "--beam_width 50,100,200,500 --write",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", default="", metavar="FILE", help="the exported model, a .tflite")
    source.add_argument(
        "--checkpoint_dir",
        default="",
        metavar="DIR",
        help="or a folder of checkpoints: the best one, else the last, in float32",
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


def run(flags: argparse.Namespace, console: Console) -> None:
    wanted = Search(
        flags.scorer,
        flags.model,
        flags.checkpoint_dir,
        [path for path in f"{flags.dev_files},{flags.test_files}".split(",") if path],
        flags.beam_width,
        flags.metric,
        flags.n_trials,
        flags.lm_alpha_max,
        flags.lm_beta_max,
        flags.beam_tolerance,
        flags.write,
        flags.plot,
        flags.folder,
    )
    if flags.test_files:
        console.warn(
            "the search on --test_files fits the weights to these clips: their WER is then no longer that of a test\n"
            "Search on --dev_files, and test once with the result."
        )
    print("\n".join(search(wanted, console)), flush=True)
