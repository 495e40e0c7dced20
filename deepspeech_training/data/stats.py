"""Hours, lengths, characters and speakers of clips, from the headers of the audio."""

from collections import Counter
from collections.abc import Iterable, Mapping

from deepspeech_training.data.clips import Clip


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


def to_text(numbers: Mapping[str, dict]) -> str:
    """The numbers of some CSVs, by name, as a person reads them."""
    lines = [_text(name, found) for name, found in numbers.items()]
    if len(numbers) > 1:
        clips, hours = (sum(found[key] for found in numbers.values()) for key in ("clips", "hours"))
        lines.append(f"all together: {clips:,} clips, {hours:.2f} hours")
    return "\n".join(lines)
