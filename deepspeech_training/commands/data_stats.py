"""Hours, lengths, characters and speakers of CSVs, from the headers of the audio: `bin/stats.py train.csv dev.csv`."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from deepspeech_training.console import Console
from deepspeech_training.data.clips import Clip, csv_arguments, read_clips
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, UserError


def summarise(clips: Iterable[Clip]) -> dict:
    """The numbers of some clips; rows with a fault are counted and left out of the rest.

    Lengths are in seconds, rates in Hz; "bytes" is not among them, since compressed audio has no rate of bytes.
    """
    seconds: list[float] = []
    speakers: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    rates: Counter[int] = Counter()
    words = faults = 0
    sentences: set[str] = set()
    for clip in clips:
        if clip.info is None:
            faults += 1
            continue
        seconds.append(clip.seconds)
        rates[clip.info.sample_rate] += 1
        characters.update(clip.transcript)
        words += len(clip.transcript.split())
        sentences.add(clip.transcript)
        if clip.speaker:
            speakers[clip.speaker] += 1
    seconds.sort()
    return {
        "clips": len(seconds),
        "faults": faults,
        "hours": round(sum(seconds) / 3600, 4),
        "seconds": {
            name: round(seconds[min(len(seconds) - 1, int(share * len(seconds)))], 2) if seconds else None
            for name, share in (("shortest", 0), ("median", 0.5), ("99%", 0.99), ("longest", 1))
        },
        "sample_rates": {str(rate): count for rate, count in sorted(rates.items())},
        "speakers": len(speakers),
        "sentences": len(sentences),
        "words": words,
        "characters": dict(sorted(characters.items(), key=lambda pair: (-pair[1], pair[0]))),
    }


def _text(name: str, numbers: dict) -> str:
    lengths = ", ".join(f"{key} {value} s" for key, value in numbers["seconds"].items())
    counts = " ".join(f"{character!r}:{count:,}" for character, count in numbers["characters"].items())
    lines = [
        name,
        f"  clips       {numbers['clips']:,}"
        + (f" ({numbers['faults']:,} more with faults)" if numbers["faults"] else ""),
        f"  hours       {numbers['hours']:.2f}",
        f"  lengths     {lengths}",
        "  rates       " + ", ".join(f"{count:,} at {rate} Hz" for rate, count in numbers["sample_rates"].items()),
        f"  speakers    {numbers['speakers']:,}" if numbers["speakers"] else "  speakers    none named",
        f"  sentences   {numbers['sentences']:,} different, {numbers['words']:,} words",
        f"  characters  {len(numbers['characters'])} different: {counts}",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command `bin/stats.py`; exit code 1 if a row has a fault."""
    parser = argparse.ArgumentParser(
        prog="stats.py",
        description="Hours, lengths, characters and speakers: bin/stats.py train.csv dev.csv",
        allow_abbrev=False,
    )
    parser.add_argument("csvs", nargs="*", metavar="CSV")
    parser.add_argument(
        "--csv", "-csv", default="", metavar="A,B", help="the same, as DeepSpeech's stats.py takes them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead, a key for each CSV")
    arguments = parser.parse_args(argv)
    console = Console()
    try:
        csv_paths = csv_arguments(arguments.csvs, arguments.csv)
        numbers = {path: summarise(read_clips([path], console)) for path in csv_paths}
        if arguments.json:
            print(json.dumps(numbers, ensure_ascii=False, indent=1))
        else:
            print("\n".join(_text(path, found) for path, found in numbers.items()), flush=True)
            if len(numbers) > 1:
                print(
                    f"all together: {sum(n['clips'] for n in numbers.values()):,} clips, "
                    f"{sum(n['hours'] for n in numbers.values()):.2f} hours"
                )
        if any(found["faults"] for found in numbers.values()):
            console.warn("some rows cannot be used; bin/check_data.py says which")
            return 1
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except BrokenPipeError:  # whoever read stdout has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_RUN
    except KeyboardInterrupt:
        return 130
    return EXIT_OK
