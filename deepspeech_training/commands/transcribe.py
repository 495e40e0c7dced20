"""`deepspeech transcribe`: audio files, folders of them and lists to text, JSON or subtitles."""

import argparse

from deepspeech_training.commands.beam_options import add_beam_options, beam_options
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.loading import load_model
from deepspeech_training.runtime.transcribe import LONGEST_S, SUFFIXES, Settings, find_jobs, transcribe, write


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Transcribe audio files with an exported model.",
        allow_abbrev=False,
        epilog="Example: deepspeech transcribe --model model.tflite --output_dir transcripts recordings/",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="audio files, and folders to look for them in")
    parser.add_argument("--list", metavar="FILE", help="a text file with one path on each line")
    parser.add_argument("--model", required=True, metavar="FILE", help="the exported model, a .tflite")
    parser.add_argument(
        "--format", choices=list(SUFFIXES), default="text", help="text, JSON with times of the words, or subtitles"
    )
    parser.add_argument(
        "--split",
        type=float,
        default=LONGEST_S,
        metavar="S",
        help="split recordings that are longer than S seconds at silences, into pieces of at most S seconds; "
        f"0: never (default {LONGEST_S:g})",
    )
    parser.add_argument(
        "--vad",
        type=int,
        choices=range(4),
        default=1,
        metavar="0-3",
        help="how much --split takes for silence: 3 the most (default 1)",
    )
    parser.add_argument(
        "--output_dir",
        metavar="DIR",
        help="one file for each audio file, with its folders; those that are there are passed over. Default: stdout",
    )
    add_beam_options(parser)
    parser.add_argument("--force", action="store_true", help="overwrite results that are there")
    parser.add_argument(
        "--proc", type=int, default=usable_cores(), metavar="N", help="processes (default: one for each usable core)"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    """Exit code 1 if any file could not be transcribed, though the others are."""
    if flags.proc < 1:
        raise FlagError(f"--proc {flags.proc}: it must be 1 or more")
    if not (flags.split == 0 or 1 <= flags.split < 86400):
        raise FlagError(f"--split {flags.split:g}: it must be 0 or a number of seconds, 1 or more")
    settings = Settings(flags.model, beam_options(flags), flags.format, flags.split, flags.vad)
    jobs = find_jobs(flags.paths, list_path=flags.list, output_dir=flags.output_dir, suffix=SUFFIXES[flags.format])
    if flags.format in ("srt", "vtt") and len(jobs) > 1 and not flags.output_dir:
        raise FlagError(f"--format {flags.format}: subtitles of {len(jobs):,} files need an --output_dir")
    # Its faults are reported once, before the processes start, and the beam search is compiled once.
    load_model(flags.model, settings.beam, console=console)
    left = [job for job in jobs if flags.force or job.output is None or not job.output.exists()]
    if len(left) < len(jobs):
        console.info(f"{len(jobs) - len(left):,} of {len(jobs):,} files have their result (--force: do them again)")
    failed = 0
    results = transcribe([job.audio_path for job in left], settings, processes=flags.proc)
    with console.progress("Transcribing", total=len(left), unit="files") as progress:
        for job, (text, fault) in zip(left, results, strict=True):
            progress.update()
            if fault is not None:
                failed += 1
                console.error(fault)
            elif job.output is None:
                print(f"{job.name}\t{text}" if flags.format == "text" and len(jobs) > 1 else text, flush=True)
            else:
                write(job.output, text)
    if failed:
        console.error(f"{failed:,} of {len(left):,} files could not be transcribed")
    return EXIT_RUN if failed else EXIT_OK
