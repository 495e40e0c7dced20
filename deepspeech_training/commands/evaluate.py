"""`deepspeech evaluate`: the WER and CER of an exported model, or the accuracy of one of spoken commands."""

import argparse
from pathlib import Path

from deepspeech_training.commands.beam_options import add_beam_options, beam_options
from deepspeech_training.config.flag import split_list
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.reporting.commands import write_curve
from deepspeech_training.runtime.commands import SpokenCommandModel
from deepspeech_training.runtime.detection import THRESHOLDS
from deepspeech_training.runtime.evaluate import evaluate, to_text
from deepspeech_training.runtime.evaluate_commands import evaluate_commands
from deepspeech_training.runtime.listening import clips_to_hear, listen
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.network import without_delegate_notice


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
    of_commands = parser.add_argument_group("of a model of spoken commands")
    of_commands.add_argument(
        "--other_speech_files",
        metavar="FILE,...",
        help="CSVs of speech without the commands, others than those of the export: count its false alarms, at each "
        "threshold, and the commands of --csv that are missed; rows with a command are left out",
    )
    of_commands.add_argument("--picture", metavar="FILE", help="draw that as a PNG")
    add_beam_options(parser)
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    if flags.proc < 1:
        raise FlagError(f"--proc {flags.proc}: it must be 1 or more")
    if flags.report_count < 0:
        raise FlagError(f"--report_count {flags.report_count}: it must be 0 or more")
    if flags.picture and not flags.other_speech_files:
        raise FlagError("--picture: of the false alarms; name --other_speech_files")
    file = ModelFile.read(flags.model)
    if file.commands is None:
        if flags.other_speech_files:
            raise FlagError("--other_speech_files: of models of spoken commands alone; leave it out")
        report = evaluate(flags.model, flags.csv, processes=flags.proc, console=console, beam=beam_options(flags))
        print(to_text(report, flags.report_count), flush=True)
        pairs = [(result.reference, result.hypothesis) for result in report.results]
    else:
        found = evaluate_commands(file, flags.csv, console=console)
        print(found.to_text(flags.report_count), flush=True)
        if flags.other_speech_files:
            _show_false_alarms(file, flags, console)
        pairs = [(result.wanted, result.heard) for result in found.results]
    for suffix, texts in zip((".txt", ".out"), zip(*pairs, strict=True), strict=True) if flags.dump else ():
        text = "".join(f"{line}\n" for line in texts)
        try:
            Path(flags.dump + suffix).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--dump {flags.dump}: cannot write {suffix}: {error.strerror}") from error


def _show_false_alarms(file: ModelFile, flags: argparse.Namespace, console: Console) -> None:
    """The curve of the thresholds, and what the model's own costs."""
    with without_delegate_notice():
        model = SpokenCommandModel(file, num_threads=1)
    own = model.rule.threshold
    said, others = clips_to_hear([flags.csv], split_list(flags.other_speech_files), model.commands, console)
    curve = listen(model, said, others, console, thresholds=sorted({*THRESHOLDS, own}))
    print("\n".join([*curve.lines(), curve.sentence(own)]), flush=True)
    if flags.picture:
        points = [(point.false_alarms_per_hour, point.misses) for point in curve.points]
        point = curve.at(own)
        write_curve(points, (point.false_alarms_per_hour, point.misses), Path(flags.picture), console)
