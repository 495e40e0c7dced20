"""`deepspeech evaluate`: the WER and CER of an exported model, or the accuracy of one of spoken commands."""

import argparse
from pathlib import Path

from deepspeech_training.commands.beam_options import add_beam_options, beam_options
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.evaluate import evaluate, to_text
from deepspeech_training.runtime.evaluate_commands import evaluate_commands
from deepspeech_training.runtime.model_file import ModelFile


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="WER and CER of an exported model; of one of spoken commands accuracy, recall and precision.",
        allow_abbrev=False,
        epilog="Example: deepspeech evaluate --model model.tflite --csv test.csv --proc 4",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument("--csv", required=True, metavar="FILE", help="wav_filename,wav_filesize,transcript or label")
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
    file = ModelFile.read(flags.model)
    if file.commands is None:
        report = evaluate(flags.model, flags.csv, processes=flags.proc, console=console, beam=beam_options(flags))
        print(to_text(report, flags.report_count), flush=True)
        pairs = [(result.reference, result.hypothesis) for result in report.results]
    else:
        found = evaluate_commands(file, flags.csv, console=console)
        print(found.to_text(flags.report_count), flush=True)
        pairs = [(result.wanted, result.heard) for result in found.results]
    for suffix, texts in zip((".txt", ".out"), zip(*pairs, strict=True), strict=True) if flags.dump else ():
        text = "".join(f"{line}\n" for line in texts)
        try:
            Path(flags.dump + suffix).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--dump {flags.dump}: cannot write {suffix}: {error.strerror}") from error
