"""See and hear what `--augment` does to clips: pictures, recordings and its cost. The command is bin/augment.py."""

import argparse
import html
import io
import math
import sys
import time
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.augment.augmenter import Augmenter, StepDraws
from deepspeech_training.augment.catalogue import AUGMENTATIONS, Augmentation, parse_augmentations
from deepspeech_training.console import Console
from deepspeech_training.data.samples import labels_with_repeats, read_rows
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import dct_matrix, fft_length, hann_window
from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND

GRIFFIN_LIM_ROUNDS = 60
DEFAULT_OUTPUT = "augmented"
HEADING = "<h1>Augmented clips</h1>"  # says that a page is ours, and may be replaced
MOST_NAMED = 20


@dataclass(frozen=True)
class Clip:
    """A waveform, float32 [samples].

    Args:
        audio: the waveform.
        needed_frames: frames of features that its transcript needs.
        draws: what the training step draws from, of a clip that is augmented.
    """

    audio: np.ndarray
    needed_frames: int
    draws: StepDraws | None = None

    def augmented(self, name: str, augmenter: Augmenter, *, epoch: int, clock: float) -> "Clip":
        audio, draws = augmenter(name, self.audio, needed_frames=self.needed_frames, epoch=epoch, clock=clock)
        return replace(self, audio=audio, draws=draws)


@dataclass(frozen=True)
class Preview:
    """One clip before and after: what is heard (float32 [samples]) and what the network sees ([frames, 40], in dB).

    `held_back` says what was not done to it and why, as `held_back` below.
    """

    name: str
    transcript: str
    before: np.ndarray
    after: np.ndarray
    seen_before: np.ndarray
    seen_after: np.ndarray
    held_back: str = ""


# --- what the network sees and a person hears ----------------------------------------------------------------------


def seen(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation] = ()) -> np.ndarray:
    """The mel bands that the features of a clip say, in dB: MFCC after all augmentations, through the inverse DCT."""
    mfcc = _keras_functions().mfcc
    features, frames = mfcc(*_padded([clip]), geometry, augmenter=_step([clip], geometry, augmentations))
    logs = np.asarray(features)[0, : int(np.asarray(frames)[0])] @ np.linalg.pinv(dct_matrix(geometry.n_mfcc))
    return 20 * logs / np.log(10)


def heard(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation]) -> np.ndarray:
    """A waveform with the augmented spectrogram of a clip (Griffin & Lim 1984); the clip's own if none works on it."""
    if not any(a.domain == "spectrogram" for a in augmentations):
        return clip.audio
    power_spectrogram = _keras_functions().power_spectrogram
    power, frames = power_spectrogram(*_padded([clip]), geometry, augmenter=_step([clip], geometry, augmentations))
    magnitude = np.sqrt(np.asarray(power)[0, : int(np.asarray(frames)[0])])
    window, length = hann_window(geometry.window_samples), fft_length(geometry.window_samples)
    phase = np.exp(2j * np.pi * np.random.Generator(np.random.Philox(key=0)).random(magnitude.shape))
    for _ in range(GRIFFIN_LIM_ROUNDS):
        frames_now = np.fft.irfft(magnitude * phase, length)[:, : len(window)] * window
        audio = _overlap_add(frames_now, geometry.step_samples) / np.maximum(
            _overlap_add(np.tile(window**2, (len(magnitude), 1)), geometry.step_samples), 1e-3
        )
        cut = np.lib.stride_tricks.sliding_window_view(audio, len(window))[:: geometry.step_samples]
        phase = np.exp(1j * np.angle(np.fft.rfft(cut * window, length)))
    return audio.astype(np.float32)


def _overlap_add(frames: np.ndarray, step: int) -> np.ndarray:
    audio = np.zeros((len(frames) - 1) * step + frames.shape[1])
    for number, frame in enumerate(frames):
        audio[number * step : number * step + len(frame)] += frame
    return audio


def _padded(clips: Sequence[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms float32 [batch, time], and their lengths int32 [batch]."""
    lengths = np.array([len(clip.audio) for clip in clips], np.int32)
    return np.stack([np.pad(clip.audio, (0, lengths.max() - len(clip.audio))) for clip in clips]), lengths


def _step(clips: Sequence[Clip], geometry: FeatureGeometry, augmentations: Sequence[Augmentation]):
    if not augmentations:
        return None
    return _step_augmenter()(augmentations, geometry, StepDraws.batch([clip.draws for clip in clips]))


def _step_augmenter():
    """The class; imported late, as Keras."""
    with BACKENDS[DEFAULT_BACKEND].loading():
        from deepspeech_training.augment.spectrogram import StepAugmenter

        return StepAugmenter


def _keras_functions():
    """The module of the features; imported late, since Keras takes seconds."""
    with BACKENDS[DEFAULT_BACKEND].loading():
        from deepspeech_training.features import mfcc_keras as features

        return features


def preview(
    name: str, transcript: str, clip: Clip, augmenter: Augmenter, geometry: FeatureGeometry, *, epoch: int, clock: float
) -> Preview:
    """Augment one clip as the training step of an epoch would get it."""
    augmented = clip.augmented(name, augmenter, epoch=epoch, clock=clock)
    in_the_step = augmenter.in_the_step
    return Preview(
        name,
        transcript,
        clip.audio,
        heard(augmented, geometry, in_the_step),
        seen(clip, geometry),
        seen(augmented, geometry, in_the_step),
        held_back(name, clip, augmenter, geometry, epoch=epoch, clock=clock),
    )


def held_back(
    name: str, clip: Clip, augmenter: Augmenter, geometry: FeatureGeometry, *, epoch: int, clock: float
) -> str:
    """What training does not do to a clip, as it would be too short for its transcript; empty if there is nothing."""
    needed = clip.needed_frames
    have = geometry.num_frames(len(clip.audio))
    if have < needed:
        return f"left out of training: it has {have} of the {needed} frames that its transcript needs"
    # The same draws for a clip that needs no frames: what differs then was held back.
    augmented, free = (
        replace(clip, needed_frames=frames).augmented(name, augmenter, epoch=epoch, clock=clock)
        for frames in (needed, 0)
    )
    would_have = {}
    if len(free.audio) != len(augmented.audio):
        would_have["speed"] = geometry.num_frames(len(free.audio))
    if any(a.name == "tempo" for a in augmenter.in_the_step):
        frames, frames_free = (
            len(seen(replace(augmented, draws=draws), geometry, augmenter.in_the_step))
            for draws in (augmented.draws, free.draws)
        )
        if frames != frames_free:
            would_have["tempo"] = frames_free
    parts = [
        f"without {kind}: it would have {frames} of the {needed} frames that its transcript needs"
        if frames < needed
        else f"without all of {kind}: it would be too short for its transcript"
        for kind, frames in would_have.items()
    ]
    return "; ".join(parts)


# --- what it costs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What an augmentation costs for each clip that it is applied to; those of the step are measured uncompiled."""

    augmentation: Augmentation
    milliseconds: float


def costs(
    augmentations: Sequence[Augmentation],
    clips: Sequence[Clip],
    geometry: FeatureGeometry,
    *,
    clock: float,
    rounds: int = 3,
) -> list[Cost]:
    """Measure each augmentation by itself: those of waveforms on one thread, the others as a batch through the step."""
    keras = _keras_functions()
    found = []
    for augmentation in augmentations:
        always = replace(augmentation, p=1.0)
        augmenter = Augmenter([always], geometry, seed=0)
        augmented = [clip.augmented(f"warm up:{k}", augmenter, epoch=0, clock=clock) for k, clip in enumerate(clips)]
        if augmentation.in_waveform:
            seconds = _seconds(
                lambda a=augmenter: [c.augmented(f"{k}", a, epoch=0, clock=clock) for k, c in enumerate(clips)], rounds
            )
        else:

            def step(chosen, clips=augmented):
                return np.asarray(keras.mfcc(*_padded(clips), geometry, augmenter=_step(clips, geometry, chosen))[0])

            seconds = _seconds(lambda: step([always]), rounds) - _seconds(lambda: step([]), rounds)  # noqa: B023
        found.append(Cost(augmentation, 1000 * max(seconds, 0.0) / len(clips)))
    return found


def _seconds(work, rounds: int) -> float:
    """The shortest time of several."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


# --- pictures and pages --------------------------------------------------------------------------------------------


def contact_sheet(
    previews: Sequence[Preview], geometry: FeatureGeometry, *, title: str, families: Sequence[str] = ()
) -> bytes:
    """A PNG: a row for each clip, what the network sees before on the left and after on the right, on one scale.

    `families` are fonts for what the usual one has not; see `fonts_for`.
    """
    plt = _pyplot()
    with plt.rc_context({"font.family": [*plt.rcParams["font.family"], *families]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # `fonts_for` says so in plain words
        return _png(plt, _sheet(plt, previews, geometry, title))


def _sheet(plt, previews: Sequence[Preview], geometry: FeatureGeometry, title: str):
    longest = max(len(panel) for p in previews for panel in (p.seen_before, p.seen_after))
    figure, axes = plt.subplots(
        len(previews), 2, figsize=(11, 1.6 * len(previews) + 0.9), squeeze=False, sharex=True, layout="constrained"
    )
    for row, one in zip(axes, previews, strict=True):
        high = float(max(one.seen_before.max(), one.seen_after.max()))
        for axis, panel, what in zip(row, (one.seen_before, one.seen_after), ("before", "after"), strict=True):
            seconds = len(panel) * geometry.win_step_ms / 1000
            axis.imshow(
                panel.T,
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, 40),
                vmin=high - 80,
                vmax=high,
                cmap="magma",
                interpolation="nearest",
            )
            marked = what == "after" and one.held_back
            axis.set_title(
                "\n".join((f"{one.name} {what}:", *one.held_back.split("; ")))
                if marked
                else f"{one.name} {what}: {_shortened(one.transcript)}",
                loc="left",
                fontsize=7 if marked else 8,
                color="tab:red" if marked else "black",
                parse_math=False,
            )
            axis.set_ylabel("mel band", fontsize=7)
            axis.tick_params(labelsize=7)
            axis.set_xlim(0, longest * geometry.win_step_ms / 1000)
            axis.set_facecolor("0.85")
    for axis in axes[-1]:
        axis.set_xlabel("seconds", fontsize=7)
    figure.suptitle(title, fontsize=8, wrap=True, parse_math=False)
    return figure


def fonts_for(text: str) -> tuple[list[str], list[str]]:
    """Installed fonts that have what the usual font of the pictures has not, and the characters that none has."""
    _pyplot()
    from matplotlib import font_manager

    def characters(path: str) -> set[int]:
        try:
            return set(font_manager.get_font(path).get_charmap())
        except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
            return set()

    missing = {ord(c) for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")}
    missing -= characters(font_manager.findfont(font_manager.FontProperties()))
    families: list[str] = []
    for font in font_manager.fontManager.ttflist if missing else ():
        if "Last Resort" not in font.name and missing & (found := characters(font.fname)):  # that one has only boxes
            families.append(font.name)
            missing -= found
    return families, [chr(code) for code in sorted(missing)]


def strip(panel: np.ndarray, *, high: float, shape: tuple[float, float], description: str) -> bytes:
    """A small PNG of one spectrogram without axes; `description` is kept in the file."""
    plt = _pyplot()
    figure = plt.figure(figsize=shape, dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(
        panel.T,
        origin="lower",
        aspect="auto",
        vmin=high - 70,
        vmax=high,
        cmap=plt.get_cmap("gray_r", 20),
        interpolation="nearest",
    )
    axis.axis("off")
    return _png(plt, figure, dpi=100, metadata={"Software": None, "Description": description})


def _png(plt, figure, **how) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", **({"dpi": 110} | how))
    plt.close(figure)
    return file.getvalue()


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("pictures need matplotlib, which is not installed: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _shortened(text: str, *, most: int = 60) -> str:
    """The beginning of a text that is too wide; the characters of Chinese, Japanese and Korean are two wide.

    >>> _shortened("she had your dark suit", most=10), _shortened("我们喜欢语音识别", most=10)
    ('she had...', '我们喜...')
    """
    widths = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text]
    if sum(widths) <= most:
        return text
    kept = int(np.searchsorted(np.cumsum(widths), most - 3, side="right"))
    return text[:kept] + "..."


def how_many_held_back(previews: Sequence[Preview]) -> str:
    """The number of clips that were not augmented as asked, and why; empty if there is none."""
    count = sum(bool(p.held_back) for p in previews)
    if not count:
        return ""
    return (
        f"Not augmented in full, and not in training either: {count} of {len(previews)} clips, which would be too "
        "short for their transcripts (CTC needs a frame for each character, and one between two that are the same)"
    )


def page(previews: Sequence[Preview], measured: Sequence[Cost], *, title: str) -> str:
    """The HTML page: the sheet, every clip to listen to, and the costs."""
    rows = "\n".join(
        f"<tr><td>{html.escape(p.name)}<td>{html.escape(p.transcript)}"
        f'<td><audio controls preload="none" src="{number:02}-before.wav"></audio>'
        f'<td><audio controls preload="none" src="{number:02}-after.wav"></audio>'
        f"<td><strong>{html.escape(p.held_back)}</strong>"
        for number, p in enumerate(previews, start=1)
    )
    table = "\n".join(
        f"<tr><td>{html.escape(str(c.augmentation))}<td>{c.augmentation.domain}<td>{c.milliseconds:.2f}"
        for c in measured
    )
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>body{{font:14px sans-serif;margin:2em}}td,th{{padding:.2em .8em;text-align:left}}img{{max-width:100%}}</style>
{HEADING}
<p>{html.escape(title)}</p>
<p><strong>{how_many_held_back(previews)}</strong></p>
<p><img src="sheet.png" alt="what the network sees of each clip, before and after"></p>
<h2>To listen to</h2>
<p>What works on the spectrogram is made audible with the method of Griffin and Lim, which sounds hollow; what works on
the mel bands (vtlp) and on the features can only be seen.</p>
<table><tr><th>clip<th>transcript<th>before<th>after<th>
{rows}
</table>
<h2>Cost for each clip that it is applied to</h2>
<table><tr><th>augmentation<th>domain<th>ms
{table}
</table>
</html>
"""


# --- the command ---------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="augment.py",
        description="Write clips of a CSV before and after augmentation, a sheet of their spectrograms (sheet.png) "
        "and a page with both (index.html). Example: bin/augment.py train.csv --augment 'gain[db=-7.5~17.5]' --augment "
        "'noise[snr=30~20]' --output /tmp/augmented",
        allow_abbrev=False,
    )
    parser.add_argument("csv", metavar="CSV", help="clips, with wav_filename and transcript")
    parser.add_argument("--augment", action="append", default=[], metavar="NAME[...]", help="as in training")
    parser.add_argument("--clock", type=float, default=0.5, help="moment of the run, from 0 to 1 (default: 0.5)")
    parser.add_argument("--number", type=int, default=8, help="clips, spread evenly over the CSV (default: 8)")
    parser.add_argument(
        "--output",
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="folder to write into; made if need be, and replaced only what this program wrote "
        f"(default: {DEFAULT_OUTPUT}, in the working folder)",
    )
    parser.add_argument("--random_seed", type=int, default=4568, help="another seed draws anew (default: 4568)")
    parser.add_argument("--audio_sample_rate", type=int, default=16000, metavar="HZ", help="(default: 16000)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command bin/augment.py; prints the costs and the path of the page, and returns the exit code."""
    arguments = _parser().parse_args(argv)
    console = Console()
    try:
        print(run(arguments, console))
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return EXIT_OK


def run(arguments: argparse.Namespace, console: Console) -> str:
    augmentations = parse_augmentations(arguments.augment)
    if not augmentations:
        raise FlagError(f"--augment is missing; there are {', '.join(AUGMENTATIONS)}")
    if not 0 <= arguments.clock <= 1:
        raise FlagError(f"--clock {arguments.clock:g}: must be at least 0 and at most 1")
    if arguments.number < 1:
        raise FlagError(f"--number {arguments.number}: must be at least 1")
    geometry = _geometry(arguments.audio_sample_rate)
    augmenter = Augmenter(augmentations, geometry, seed=arguments.random_seed)
    clips = _clips(arguments.csv, arguments.number, geometry, console)
    folder = Path(arguments.output)
    _make(folder, [f"{number:02}-{what}.wav" for number in range(1, len(clips) + 1) for what in ("before", "after")])
    previews = []
    with console.progress("Augmenting", total=len(clips), unit="clips") as progress:
        for name, transcript, clip in clips:
            previews.append(preview(name, transcript, clip, augmenter, geometry, epoch=0, clock=arguments.clock))
            progress.update()
    measured = costs(augmentations, [clip for _, _, clip in clips], geometry, clock=arguments.clock)
    title = f"{' '.join(map(str, augmentations))} at clock {arguments.clock:g}"
    families, missing = fonts_for(title + "".join(p.name + p.transcript for p in previews))
    sheet = contact_sheet(previews, geometry, title=title, families=families)
    write_atomically(folder / "index.html", [page(previews, measured, title=title).encode()])  # first: it says whose
    write_atomically(folder / "sheet.png", [sheet])
    for number, one in enumerate(previews, start=1):
        for what, audio in (("before", one.before), ("after", one.after)):
            _write_wav(folder / f"{number:02}-{what}.wav", audio, geometry.sample_rate)
    if missing:
        console.warn(
            f"sheet.png has boxes for {' '.join(missing[:MOST_NAMED])}{' ...' * (len(missing) > MOST_NAMED)}, which no "
            "installed font has; index.html shows what the browser's fonts have"
        )
    held = [f"{p.name}: {p.held_back}" for p in previews if p.held_back]
    if held:
        more = [f"and {len(held) - MOST_NAMED} more, see index.html"] if len(held) > MOST_NAMED else []
        console.warn("\n".join([how_many_held_back(previews) + ":", *held[:MOST_NAMED], *more]))
    lines = [f"{cost.milliseconds:9.2f} ms  {cost.augmentation}" for cost in measured]
    return "\n".join([*lines, str(folder / "index.html")])


def _clips(csv_path: str, number: int, geometry: FeatureGeometry, console: Console) -> list[tuple[str, str, Clip]]:
    """(name, transcript, clip) of rows that are spread evenly over a CSV; rows that cannot be used are passed over."""
    rows = read_rows(csv_path)
    found = []
    for place in np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(int):
        row = rows[place]
        name = f"{Path(csv_path).name}:{row.row}"
        try:
            if row.fault is not None:
                raise AudioError(row.fault)
            audio = read_audio(str(Path(csv_path).parent / row.wav_filename), sample_rate=geometry.sample_rate)
        except AudioError as error:
            console.warn(f"{name}: {error.reason}; passed over")
            continue
        if geometry.num_frames(len(audio)):
            needed_frames = labels_with_repeats(list(map(ord, row.transcript)) or [0])
            found.append((name, row.transcript, Clip(audio, needed_frames)))
    if not found:
        raise UserError(f"{csv_path}: there is no clip that can be used")
    return found


def _geometry(sample_rate: int) -> FeatureGeometry:
    usual = FeatureGeometry()
    whole = 1000 // math.gcd(1000, usual.win_len_ms, usual.win_step_ms)
    if sample_rate > 0 and sample_rate % whole:
        raise FlagError(
            f"--audio_sample_rate {sample_rate}: windows of {usual.win_len_ms} ms, {usual.win_step_ms} ms apart, would "
            f"not be whole numbers of samples\nTake a multiple of {whole} Hz, such as 8000 or 16000."
        )
    return FeatureGeometry(sample_rate=sample_rate)


def _make(folder: Path, clip_names: Sequence[str]) -> None:
    """Make the folder, or see that nothing is replaced in it but what this program wrote."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [name for name in ("index.html", "sheet.png", *clip_names) if (folder / name).exists()]
        page_path = folder / "index.html"
        if there and not (page_path.is_file() and HEADING.encode() in page_path.read_bytes()[:5000]):
            raise UserError(
                f"--output {folder}: {there[0]} is in it, which this program did not write; it is not replaced\n"
                "Name another folder: --output."
            )
    except OSError as error:
        raise UserError(f"--output {folder}: cannot make this folder: {error.strerror}") from error


def _write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 32767 / 32768), rate, format="WAV", subtype="PCM_16")
    write_atomically(path, [file.getvalue()])


if __name__ == "__main__":
    sys.exit(main())
