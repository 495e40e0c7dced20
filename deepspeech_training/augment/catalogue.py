"""What `--augment NAME[p=..,parameter=value,..]` can say: the table AUGMENTATIONS, and how a line is read and checked.

Names, parameters and values are DeepSpeech's (training/deepspeech_training/util/augmentations.py of v0.9.3), with those
that were added after it. What they do to a clip is in data/waveform_augment.py and spectrogram_augment.py. Nothing here
needs more than Python, so that a wrong line is refused before anything starts.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from deepspeech_training.errors import FlagError

WAVEFORM_DOMAINS = ("sample", "signal")  # in the loader's threads; the others in the training step
DOMAINS = ("sample", "signal", "spectrogram", "mel", "features")  # in the order in which they are applied


@dataclass(frozen=True)
class ValueRange:
    """A value that may change over the run: `start` at its beginning, `end` at its end, give or take `radius`.

    Written `v`, `centre~radius`, `start:end` or `start:end~radius`.
    """

    start: float
    end: float
    radius: float = 0.0
    whole: bool = False

    def centre(self, clock: float) -> float:
        """The middle of what can be drawn at `clock`, which runs from 0 to 1 over the whole run."""
        return self.start + clock * (self.end - self.start)

    def pick(self, clock: float, uniform: float) -> float:
        """The value for a number from 0 to 1 that was drawn at random; rounded if the range is one of whole numbers.

        >>> ValueRange(10.0, 20.0, 4.0).pick(0.5, 0.75)
        17.0
        """
        value = self.centre(clock) + self.radius * (2.0 * uniform - 1.0)
        return round(value) if self.whole else value

    @property
    def low(self) -> float:
        return min(self.start, self.end) - self.radius

    @property
    def high(self) -> float:
        return max(self.start, self.end) + self.radius

    def within(self, low: float, high: float) -> "ValueRange":
        """The nearest range that does not leave `low`..`high`."""
        start, end = (min(max(value, low), high) for value in (self.start, self.end))
        room = min(min(start, end) - low, high - max(start, end))
        return ValueRange(start, end, min(self.radius, room), self.whole)

    def __str__(self) -> str:
        centre = f"{self.start:g}" if self.start == self.end else f"{self.start:g}:{self.end:g}"
        return centre + (f"~{self.radius:g}" if self.radius else "")


_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_RANGE = re.compile(rf"\s*{_NUMBER}\s*(?::\s*{_NUMBER}\s*)?(?:~\s*{_NUMBER}\s*)?")


def parse_range(text: str, *, whole: bool = False) -> ValueRange:
    """Read a value.

    Raises:
        ValueError: it is not one of the four forms, its radius is negative, or (`whole`) it is not of whole numbers.

    >>> parse_range("50:20~10")
    ValueRange(start=50.0, end=20.0, radius=10.0, whole=False)
    >>> str(parse_range("3", whole=True))
    '3'
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError("a value is written 5, 5~2 (3 to 7), 5:10 (from 5 to 10 over the run) or 5:10~2")
    start, end, radius = match.groups()
    found = ValueRange(float(start), float(end or start), float(radius or 0), whole)
    if found.radius < 0:
        raise ValueError("what follows ~ is how far a value may be off, so it cannot be negative")
    if whole and any(value % 1 for value in (found.start, found.end, found.radius)):
        raise ValueError("must be of whole numbers")
    return found


@dataclass(frozen=True)
class Parameter:
    """A parameter of an augmentation.

    `default` is as one would write it; None: there is none, it must be given. `kind` is "float", "int" (ranges of
    either), "number" (one number for the whole run), "choice" or "path". Bounds are inclusive.
    """

    help: str
    default: str | None
    kind: str = "float"
    unit: str = ""
    low: float = -1e9
    high: float = 1e9
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> ValueRange | float | str:
        """Read a value; raises ValueError, whose text ends a sentence that begins with name and value."""
        if self.kind == "path":
            if not text:
                raise ValueError("must be a path")
            return text
        if self.kind == "choice":
            if text not in self.choices:
                raise ValueError(f"must be one of {', '.join(self.choices)}{_did_you_mean(text, self.choices)}")
            return text
        found = parse_range(text, whole=self.kind == "int")
        if self.kind == "number" and (found.radius or found.start != found.end):
            raise ValueError(f"must be one number; the nearest is {found.start:g}")
        nearest = found.within(self.low, self.high)
        if nearest != found:
            low = f"at least {self.low:g}" if self.low > -1e9 or found.low < self.low else ""
            high = f"at most {self.high:g}" if self.high < 1e9 or found.high > self.high else ""
            limits = " and ".join(filter(None, (low, high)))
            always = "always be" if found.radius or found.start != found.end else "be"
            raise ValueError(f"must {always} {limits}; the nearest is {nearest}")
        return found.start if self.kind == "number" else found


@dataclass(frozen=True)
class Kind:
    """An augmentation that there is: its parameters, the domains it works in (the first is the default), its text.

    `example` is what one may begin with, and `shown` what the picture in the documentation shows.
    """

    help: str
    example: str
    shown: str
    domains: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    aliases: Mapping[str, str] = field(default_factory=dict)
    is_new: bool = False  # not in DeepSpeech 0.9.3


def _source(what: str, default: str | None = None) -> Parameter:
    return Parameter(
        f"{what}: a folder, searched through, a CSV with `wav_filename`, or an audio file", default, "path"
    )


_MASK_COUNT = Parameter("how many", "3", "int", low=0, high=100)
_MASK_FILL = Parameter(
    "what a mask leaves: 0, whose logarithm no recording has, or the clip's mean over time (of the logarithm where the "
    "network sees that), as in the paper",
    "zero",
    "choice",
    choices=("zero", "mean"),
)
_DEEPSPEECH: dict[str, Kind] = {
    "overlay": Kind(
        "mixes other recordings into the clip, one after the other until it is filled, and keeps its peak",
        "p=0.5,source=noise,snr=50:20~10",
        "source=recordings,snr=0",
        ("sample",),
        {
            "source": _source("what is mixed in"),
            "snr": Parameter("peak of the clip over the peak of what is mixed in", "3", unit="dB", low=-100, high=200),
            "layers": Parameter("how many recordings at once", "1", "int", low=0, high=100),
        },
    ),
    "codec": Kind(
        "encodes and decodes the clip with a lossy codec",
        "p=0.1,bitrate=48000:16000",
        "",
        ("sample",),
        {
            "bitrate": Parameter(
                "of the encoded clip; Opus goes down to 6000 here and MP3 to 8000, and what is less counts as that",
                "3200",
                "int",
                "bit/s",
                low=500,
                high=512000,
            ),
            "codec": Parameter("which one", "opus", "choice", choices=("opus", "mp3")),
        },
    ),
    "reverb": Kind(
        "adds echoes: five feedback combs beside each other (Schroeder 1962), and keeps the peak",
        "p=0.1,delay=50~30,decay=10:2~1",
        "delay=60,decay=2",
        ("sample",),
        {
            "delay": Parameter(
                "of the first comb; the others have 19/17, 23/17, 29/17, 31/17 of it",
                "20",
                unit="ms",
                low=0,
                high=10000,
            ),
            "decay": Parameter("loss from one echo to the next", "10", unit="dB", low=0.1, high=200),
        },
    ),
    "resample": Kind(
        "resamples to a lower rate and back, which takes what is above half of that rate away",
        "p=0.1,rate=12000:8000~4000",
        "rate=4000",
        ("sample",),
        {"rate": Parameter("the lower rate", "8000", "int", "Hz", low=1000, high=192000)},
    ),
    "volume": Kind(
        "sets the peak",
        "p=0.1,dbfs=-10:-40",
        "dbfs=-40",
        ("sample",),
        {"dbfs": Parameter("the peak, where 3.0103 is full scale", "3.0103", unit="dBFS", low=-150, high=60)},
    ),
    "pitch": Kind(
        "stretches the frequency axis of the spectrogram; what leaves it at the top is lost",
        "p=0.1,pitch=1~0.2",
        "pitch=1.35",
        ("spectrogram",),
        {"pitch": Parameter("factor on all frequencies", "1.075~0.125", low=0.1, high=10)},
    ),
    "tempo": Kind(
        "stretches the time axis of the spectrogram, so that speech is faster and its pitch stays",
        "p=0.1,factor=1~0.3",
        "factor=1.4",
        ("spectrogram",),
        {
            "factor": Parameter("how much faster", "1.1", low=0.1, high=10),
            "max_time": Parameter("longest clip that may come of it; -1: any", "-1", "number", "ms", low=-1),
        },
    ),
    "warp": Kind(
        "shifts points of the spectrogram at random and bends what lies between them",
        "p=0.1,nt=4,nf=1,wt=0.5:1,wf=0.1:0.2",
        "nt=3,nf=1,wt=0.7,wf=0.3",
        ("spectrogram",),
        {
            "nt": Parameter("inner points along time", "1", "int", low=1, high=20),
            "nf": Parameter("inner points along frequency", "1", "int", low=1, high=20),
            "wt": Parameter(
                "standard deviation of the shifts in time, as a share of half their distance", "0.1", low=0, high=10
            ),
            "wf": Parameter("the same for frequency", "0", low=0, high=10),
        },
        aliases={"num_t": "nt", "num_f": "nf", "warp_t": "wt", "warp_f": "wf"},
    ),
    "frequency_mask": Kind(
        "sets bands of the spectrogram to zero, or to their mean (SpecAugment, Park et al. 2019)",
        "p=0.1,n=1:3,size=1:5",
        "n=3,size=12",
        ("spectrogram",),
        {
            "n": _MASK_COUNT,
            "size": Parameter("width of a band", "2", "int", "bins", low=0, high=4096),
            "fill": _MASK_FILL,
        },
    ),
    "time_mask": Kind(
        "sets stretches of time to zero, or to the mean (SpecAugment, Park et al. 2019)",
        "p=0.1,domain=signal,n=3:10~2,size=50:100~40",
        "n=3,size=120",
        ("spectrogram", "signal", "features"),
        {
            "n": _MASK_COUNT,
            "size": Parameter("length of a stretch", "10", unit="ms", low=0, high=60000),
            "fill": _MASK_FILL,
        },
    ),
    "dropout": Kind(
        "sets single values to zero",
        "p=0.1,rate=0.05",
        "rate=0.3",
        ("spectrogram", "signal", "features"),
        {"rate": Parameter("share of the values", "0.05", low=0, high=1)},
    ),
    "add": Kind(
        "adds a normally distributed number to every value",
        "p=0.1,domain=features,stddev=0~0.5",
        "stddev=1",
        ("features", "signal", "spectrogram"),
        {"stddev": Parameter("their standard deviation; 16 bit audio is from -1 to 1 here", "5")},
    ),
    "multiply": Kind(
        "multiplies every value with a normally distributed number of mean 1",
        "p=0.1,domain=features,stddev=0~0.5",
        "stddev=0.3",
        ("features", "signal", "spectrogram"),
        {"stddev": Parameter("their standard deviation", "5")},
    ),
}
_NEW: dict[str, Kind] = {
    "gain": Kind(
        "changes the level and rounds to 16 bit again, as a quieter or louder recording would have been",
        "db=-7.5~17.5",
        "db=-25",
        ("sample",),
        {"db": Parameter("how much louder", "-7.5~17.5", unit="dB", low=-120, high=120)},
        is_new=True,
    ),
    "noise": Kind(
        "adds noise: white, or from recordings",
        "p=0.7,snr=30~20",
        "snr=5",
        ("sample",),
        {
            "snr": Parameter("power of the clip over the power of the noise", "30~20", unit="dB", low=-100, high=200),
            "slope": Parameter(
                "of the spectrum of the noise: 0 leaves it (white), -3 makes white noise pink, -6 brown",
                "0",
                unit="dB/octave",
                low=-24,
                high=24,
            ),
            "source": _source("recordings of noise; without it the noise is white", ""),
        },
        is_new=True,
    ),
    "equalizer": Kind(
        "makes each octave louder or quieter, as other microphones and rooms do; linear in dB between octaves",
        "p=0.7,db=0~6",
        "db=0~20",
        ("spectrogram",),
        {
            "db": Parameter(
                "gain of an octave: 62.5 Hz and its doubles, drawn for each", "0~6", unit="dB", low=-60, high=60
            ),
            "slope": Parameter(
                "how much louder each octave above 1 kHz is than the one below it, and quieter below: "
                "bright and dull recordings",
                "0",
                unit="dB/octave",
                low=-24,
                high=24,
            ),
            "low": Parameter(
                "further gain at 62.5 Hz and below, which falls to none at 125 Hz: microphones and files "
                "differ most there",
                "0",
                unit="dB",
                low=-60,
                high=60,
            ),
        },
        is_new=True,
    ),
    "rir": Kind(
        "puts the clip into a room: convolves it with a recorded impulse response, and keeps its power",
        "p=0.3,source=rooms",
        "source=rooms",
        ("sample",),
        {"source": _source("impulse responses of rooms")},
        is_new=True,
    ),
    "speed": Kind(
        "plays the clip faster or slower: tempo and pitch change together (Ko et al. 2015)",
        "p=0.5,factor=1~0.1",
        "factor=1.3",
        ("sample",),
        {"factor": Parameter("how much faster, in steps of 0.01", "1~0.1", low=0.25, high=4)},
        is_new=True,
    ),
    "silence": Kind(
        "adds silence at both ends",
        "p=0.5,before=100~100,after=100~100",
        "before=250,after=250",
        ("sample",),
        {
            "before": Parameter("before the clip", "150~150", unit="ms", low=0, high=60000),
            "after": Parameter("after it", "150~150", unit="ms", low=0, high=60000),
            "dbfs": Parameter(
                "power of the white noise in it, where a sine of full scale has 0", "-80", unit="dBFS", low=-200, high=0
            ),
        },
        is_new=True,
    ),
    "telephone": Kind(
        "sends the clip through a telephone: 8 kHz, a band, and a codec of telephony",
        "p=0.2",
        "",
        ("sample",),
        {
            "low": Parameter("lower edge of the band, where 3 dB are lost", "300", unit="Hz", low=10, high=1500),
            "high": Parameter("upper edge", "3400", unit="Hz", low=1600, high=3900),
            "codec": Parameter(
                "G.711 with either law, GSM 06.10, or any of them",
                "any",
                "choice",
                choices=("mulaw", "alaw", "gsm", "any"),
            ),
        },
        is_new=True,
    ),
    "vtlp": Kind(
        "warps the frequency axis under the mel bands, as a vocal tract of another length does "
        "(Jaitly & Hinton 2013): linear up to 0.6 of the highest frequency, which stays",
        "factor=1~0.12",
        "factor=1.25",
        ("mel",),
        {
            "factor": Parameter(
                "factor on the lower frequencies; above 1 the tract is shorter", "1~0.12", low=0.5, high=1.6
            )
        },
        is_new=True,
    ),
}
AUGMENTATIONS: Mapping[str, Kind] = MappingProxyType(_DEEPSPEECH | _NEW)
PROBABILITY = Parameter("probability that a clip is augmented", "1", "number", low=0, high=1)
START = Parameter("when it begins, on the clock of the run", "0", "number", low=0, high=1)


@dataclass(frozen=True)
class Augmentation:
    """One `--augment`, read and checked: `values` has every parameter of its kind; `index` is its place among all."""

    name: str
    index: int
    p: float
    domain: str
    start: float  # on the clock of the run: before it, clips are left alone
    values: Mapping[str, Any]  # each a ValueRange, a number or a text, as its Parameter has it

    @property
    def in_waveform(self) -> bool:
        return self.domain in WAVEFORM_DOMAINS

    def __str__(self) -> str:
        parts = [f"p={self.p:g}", *([f"start={self.start:g}"] if self.start else [])]
        parts += [*(f"{name}={_text(value)}" for name, value in self.values.items() if value != "")]
        if len(AUGMENTATIONS[self.name].domains) > 1:
            parts.append(f"domain={self.domain}")
        return f"{self.name}[{','.join(parts)}]"


def parse_augmentations(texts: Sequence[str]) -> tuple[Augmentation, ...]:
    """Read all `--augment` of a command line.

    Raises:
        FlagError: a name or parameter does not exist, or a value is out of range; it gives the nearest one.

    >>> [str(a) for a in parse_augmentations(["pitch[p=0.1,pitch=1~0.2]", "time_mask[domain=signal,n=3:10~2]"])]
    ['pitch[p=0.1,pitch=1~0.2]', 'time_mask[p=1,n=3:10~2,size=10,fill=zero,domain=signal]']
    """
    return tuple(_parse(text, index) for index, text in enumerate(texts))


def _parse(text: str, index: int) -> Augmentation:
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\[(.*)\])?\s*", text, re.DOTALL)
    if match is None:
        raise FlagError(
            f"--augment {text}: it is written name[p=0.5,parameter=value], such as pitch[p=0.1,pitch=1~0.2]"
        )
    name = match[1]
    if name not in AUGMENTATIONS:
        hint = _did_you_mean(name.replace("-", "_").lower(), AUGMENTATIONS)
        raise FlagError(
            f"--augment {text}: there is no augmentation {name!r}{hint}\nThere are {', '.join(AUGMENTATIONS)}."
        )
    kind = AUGMENTATIONS[name]
    known = {"p": PROBABILITY, "start": START, **kind.parameters}
    if len(kind.domains) > 1:
        known["domain"] = Parameter("what it works on", kind.domains[0], "choice", choices=kind.domains)
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in (match[2] or "").split(","))):
        key, equals, value = (word.strip() for word in part.partition("="))
        key = kind.aliases.get(key, key)
        if not equals or key not in known:
            what = f"there is no parameter {key!r}" if equals else f"{part!r} is not of the form parameter=value"
            hint = _did_you_mean(key, known) if equals else ""
            if not equals and "source" in given:
                hint = " (a path with a comma in it cannot be written here: rename that file or folder)"
            raise FlagError(f"--augment {text}: {what}{hint}\n{name} has {', '.join(known)}.")
        if key in given:
            raise FlagError(f"--augment {text}: {key} is given twice")
        given[key] = value
    values: dict[str, Any] = {}
    for key, parameter in known.items():
        said = given.get(key, parameter.default)
        if said is None:
            raise FlagError(f"--augment {text}: {key} is missing\nWrite {name}[{key}=...]: {parameter.help}.")
        try:
            values[key] = parameter.parse(said) if key in given or said else said
        except ValueError as error:
            raise FlagError(f"--augment {text}: {key}={given[key]} {error}") from None
    p, start = values.pop("p"), values.pop("start")
    return Augmentation(name, index, p, values.pop("domain", kind.domains[0]), start, values)


def _did_you_mean(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _text(value: ValueRange | float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def augmentations_markdown() -> str:
    """The text of docs/augmentations.md."""
    lines = [_INTRODUCTION]
    for title, kinds in (("DeepSpeech's", _DEEPSPEECH), ("New", _NEW)):
        lines += ["", f"## {title}"]
        for name, kind in kinds.items():
            lines += ["", f"### {name}", "", f"{kind.help[0].upper()}{kind.help[1:]}."]
            works_on = " or ".join(f"`{domain}`" for domain in kind.domains)
            lines += ["", f"Domain: {works_on}." + (f" Default: `{kind.domains[0]}`." if len(kind.domains) > 1 else "")]
            lines += ["", "| parameter | default | unit | |", "|---|---|---|---|"]
            for key, parameter in kind.parameters.items():
                default = (
                    "required" if parameter.default is None else f"`{parameter.default}`" if parameter.default else ""
                )
                text = parameter.help + (f": {', '.join(parameter.choices)}" if parameter.choices else "")
                lines.append(f"| `{key}` | {default} | {parameter.unit} | {text}{_limits_text(parameter)} |")
            shown = f"{name}[{kind.shown}]" if kind.shown else name
            lines += ["", f"To begin with: `--augment '{name}[{kind.example}]'`"]
            lines += ["", f"![{shown}](augmentations/{name}.png)", "", f"`{shown}`"]
    return "\n".join(lines) + "\n"


def _limits_text(parameter: Parameter) -> str:
    if parameter.kind in ("path", "choice") or (parameter.low == -1e9 and parameter.high == 1e9):
        return ""
    if parameter.high == 1e9:
        return f"; at least {parameter.low:g}"
    return f"; {parameter.low:g} to {parameter.high:g}"


_INTRODUCTION = """# Augmentation

Written by `python bin/make_docs.py` from `deepspeech_training/augment/catalogue.py`; do not edit it here.

Training clips can be changed at random each time they come up, so that little data teaches more. `--augment` can be
given several times; validation and test see the clips as they are.

```sh
deepspeech-train --train_files train.csv --dev_files dev.csv --augment 'gain[db=-7.5~17.5]' \\
    --augment 'noise[p=0.7,snr=30~20]' --augment 'vtlp[factor=1~0.12]' \\
    --checkpoint_dir persistent-data/checkpoints/first
```

An augmentation is written `name[p=0.5,parameter=value,...]`. `p` is the probability that a clip is augmented, 1
unless given. `start=0.3` leaves all clips alone in the first three tenths of the run: masks from the first epoch on
make it last longer until a network writes its first letters. Quote it: shells have a meaning for brackets. A wrong
name, parameter or value is refused before anything starts.

| a value | means |
|---|---|
| `5` | always 5 |
| `5~2` | at random from 3 to 7, each as likely |
| `5:10` | 5 at the start of the run, 10 at its end |
| `5:10~2` | 3 to 7 at the start, 8 to 12 at the end |

What is after the colon follows the clock of the whole run, which goes from 0 to 1 over all steps of `--epochs`; a run
that resumes from a checkpoint resumes at the same time. More `--epochs` later make the clock slower.

Where a clip is on its way decides the order, whatever the command line says: `sample` (the recording), `signal` (the
same, after all of `sample`), `spectrogram` (power in each bin of each frame), `mel` (the bank over it), `features`
(MFCC). Within each of these the order is that of the command line. The first two are computed by the threads that
read audio, the others inside the training step, on the GPU where there is one.

What is drawn is a function of `--random_seed`, the epoch, the clip and the place of the augmentation on the command
line, so a run can be repeated to the bit, and one that was killed ends as if it had not been. An augmentation that
would make a clip too short for its transcript (CTC needs a frame for each character, and one between two that are the
same) leaves it as it is.

`source` is a folder that is searched through, a CSV with `wav_filename`, or an audio file. Recordings are resampled,
and kept in memory up to 256 MB.

To see and hear it before training (and what it costs):

```sh
deepspeech augment train.csv --augment 'gain[db=-7.5~17.5]' --augment 'noise[snr=30~20]' \\
    --clock 0.5 --number 8 --output augmented
```

It writes clips before and after, a sheet of what the network sees of them (`sheet.png`), and `index.html` with both.

What follows shows what the network sees of this clip: the logarithm of 40 mel bands, time from left to right.

![the clip](augmentations/clip.png)"""
