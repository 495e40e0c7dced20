"""`deepspeech evaluate`: the WER and CER of an exported model."""

import argparse
from pathlib import Path

from deepspeech_training.commands.beam_options import add_beam_options, beam_options
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.evaluate import evaluate, to_text


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="WER and CER of an exported model.",
        allow_abbrev=False,
        epilog="Example: deepspeech evaluate --model model.tflite --csv test.csv --proc 4",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument("--csv", required=True, metavar="FILE", help="wav_filename,wav_filesize,transcript")
    parser.add_argument(
        "--proc", type=int, default=usable_cores(), metavar="N", help="processes (default: one for each usable core)"
    )
    parser.add_argument("--dump", metavar="PATH", help="write references to PATH.txt and hypotheses to PATH.out")
    parser.add_argument(
        "--report_count", type=int, default=5, metavar="N", help="clips listed as best, median and worst (default 5)"
    )
    add_beam_options(parser)
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    if flags.proc < 1:
        raise FlagError(f"--proc {flags.proc}: it must be 1 or more")
    if flags.report_count < 0:
        raise FlagError(f"--report_count {flags.report_count}: it must be 0 or more")
    report = evaluate(flags.model, flags.csv, processes=flags.proc, console=console, beam=beam_options(flags))
    print(to_text(report, flags.report_count), flush=True)
    for suffix, field in ((".txt", "reference"), (".out", "hypothesis")) if flags.dump else ():
        text = "".join(getattr(result, field) + "\n" for result in report.results)
        try:
            Path(flags.dump + suffix).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--dump {flags.dump}: cannot write {suffix}: {error.strerror}") from error
