"""See and hear what `--augment` does to clips: pictures, recordings and its cost. The command is bin/augment.py."""

import argparse
import html
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio import AudioError, read_audio
from deepspeech_training.augmentations import AUGMENTATIONS, Augmentation, parse_augmentations
from deepspeech_training.console import Console, stderr_without
from deepspeech_training.data.augmenter import Augmenter
from deepspeech_training.data.loader import Clip, make_batch
from deepspeech_training.engine.devices import START_UP_CHATTER
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
from deepspeech_training.features_geometry import FeatureGeometry
from deepspeech_training.mel import dct_matrix, fft_length, hann_window
from deepspeech_training.samples import read_rows

GRIFFIN_LIM_ROUNDS = 60


@dataclass(frozen=True)
class Preview:
    """One clip before and after: what is heard (float32 [samples]) and what the network sees ([frames, 40], in dB)."""

    name: str
    transcript: str
    before: np.ndarray
    after: np.ndarray
    seen_before: np.ndarray
    seen_after: np.ndarray


# --- what the network sees and a person hears ----------------------------------------------------------------------


def seen(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation] = ()) -> np.ndarray:
    """The mel bands that the features of a clip say, in dB: MFCC after all augmentations, through the inverse DCT."""
    mfcc = _keras_functions().mfcc
    features, frames = mfcc(*_as_batch(clip), geometry, augmenter=_step(clip, geometry, augmentations))
    logs = np.asarray(features)[0, : int(np.asarray(frames)[0])] @ np.linalg.pinv(dct_matrix(geometry.n_mfcc))
    return 20 * logs / np.log(10)


def heard(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation]) -> np.ndarray:
    """A waveform with the augmented spectrogram of a clip (Griffin & Lim 1984); the clip's own if none works on it."""
    if not any(a.domain == "spectrogram" for a in augmentations):
        return clip.audio
    power_spectrogram = _keras_functions().power_spectrogram
    power, frames = power_spectrogram(*_as_batch(clip), geometry, augmenter=_step(clip, geometry, augmentations))
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


def _as_batch(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    batch = make_batch([None], [clip])
    return batch.audio, batch.num_samples


def _step(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation]):
    return _keras_functions().StepAugmenter(augmentations, geometry, clip.draws[None]) if augmentations else None


def _keras_functions():
    """The module of the features; imported late, since Keras takes seconds."""
    with stderr_without(*START_UP_CHATTER):
        from deepspeech_training import features

        return features


def preview(name: str, transcript: str, clip: Clip, augmenter: Augmenter, geometry: FeatureGeometry, *,
            epoch: int, clock: float) -> Preview:  # fmt: skip
    """Augment one clip as the training step of an epoch would get it."""
    augmented = augmenter(name, clip, epoch=epoch, clock=clock)
    in_the_step = augmenter.in_the_step
    return Preview(
        name, transcript, clip.audio, heard(augmented, geometry, in_the_step), seen(clip, geometry),
        seen(augmented, geometry, in_the_step),
    )  # fmt: skip


# --- what it costs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What an augmentation costs for each clip that it is applied to; those of the step are measured uncompiled."""

    augmentation: Augmentation
    milliseconds: float


def costs(augmentations: Sequence[Augmentation], clips: Sequence[Clip], geometry: FeatureGeometry, *,
          clock: float, rounds: int = 3) -> list[Cost]:  # fmt: skip
    """Measure each augmentation by itself: those of waveforms on one thread, the others as a batch through the step."""
    keras = _keras_functions()
    found = []
    for augmentation in augmentations:
        always = replace(augmentation, p=1.0)
        augmenter = Augmenter([always], geometry, seed=0)
        augmented = [augmenter(f"warm up:{k}", clip, epoch=0, clock=clock) for k, clip in enumerate(clips)]
        if augmentation.in_waveform:
            seconds = _seconds(
                lambda a=augmenter: [a(f"{k}", clip, epoch=0, clock=clock) for k, clip in enumerate(clips)], rounds
            )
        else:
            batch = make_batch([None] * len(clips), augmented)

            def step(chosen, batch=batch):
                augment = keras.StepAugmenter(chosen, geometry, batch.draws) if chosen else None
                return np.asarray(keras.mfcc(batch.audio, batch.num_samples, geometry, augmenter=augment)[0])

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


def contact_sheet(previews: Sequence[Preview], geometry: FeatureGeometry, *, title: str) -> bytes:
    """A PNG: a row for each clip, what the network sees before on the left and after on the right, on one scale."""
    plt = _pyplot()
    longest = max(len(panel) for p in previews for panel in (p.seen_before, p.seen_after))
    figure, axes = plt.subplots(
        len(previews), 2, figsize=(11, 1.6 * len(previews) + 0.9), squeeze=False, sharex=True, layout="constrained"
    )
    for row, one in zip(axes, previews, strict=True):
        high = float(max(one.seen_before.max(), one.seen_after.max()))
        for axis, panel, what in zip(row, (one.seen_before, one.seen_after), ("before", "after"), strict=True):
            seconds = len(panel) * geometry.win_step_ms / 1000
            axis.imshow(
                panel.T, origin="lower", aspect="auto", extent=(0, seconds, 0, 40), vmin=high - 80, vmax=high,
                cmap="magma", interpolation="nearest",
            )  # fmt: skip
            axis.set_title(f"{one.name} {what}: {_shortened(one.transcript)}", fontsize=8, loc="left", parse_math=False)
            axis.set_ylabel("mel band", fontsize=7)
            axis.tick_params(labelsize=7)
            axis.set_xlim(0, longest * geometry.win_step_ms / 1000)
            axis.set_facecolor("0.85")
    for axis in axes[-1]:
        axis.set_xlabel("seconds", fontsize=7)
    figure.suptitle(title, fontsize=8, wrap=True, parse_math=False)
    return _png(plt, figure)


def strip(panel: np.ndarray, *, high: float, shape: tuple[float, float], description: str) -> bytes:
    """A small PNG of one spectrogram without axes; `description` is kept in the file."""
    plt = _pyplot()
    figure = plt.figure(figsize=shape, dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(
        panel.T, origin="lower", aspect="auto", vmin=high - 70, vmax=high, cmap=plt.get_cmap("gray_r", 20),
        interpolation="nearest",
    )  # fmt: skip
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


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def page(previews: Sequence[Preview], measured: Sequence[Cost], *, title: str) -> str:
    """The HTML page: the sheet, every clip to listen to, and the costs."""
    rows = "\n".join(
        f"<tr><td>{html.escape(p.name)}<td>{html.escape(p.transcript)}"
        f'<td><audio controls preload="none" src="{number:02}-before.wav"></audio>'
        f'<td><audio controls preload="none" src="{number:02}-after.wav"></audio>'
        for number, p in enumerate(previews, start=1)
    )
    table = "\n".join(
        f"<tr><td>{html.escape(str(c.augmentation))}<td>{c.augmentation.domain}<td>{c.milliseconds:.2f}"
        for c in measured
    )
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>body{{font:14px sans-serif;margin:2em}}td,th{{padding:.2em .8em;text-align:left}}img{{max-width:100%}}</style>
<h1>Augmented clips</h1>
<p>{html.escape(title)}</p>
<p><img src="sheet.png" alt="what the network sees of each clip, before and after"></p>
<h2>To listen to</h2>
<p>What works on the spectrogram is made audible with the method of Griffin and Lim, which sounds hollow; what works on
the mel bands (vtlp) and on the features can only be seen.</p>
<table><tr><th>clip<th>transcript<th>before<th>after
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
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write into; made if need be")
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
    geometry = FeatureGeometry(sample_rate=arguments.audio_sample_rate)
    augmenter = Augmenter(augmentations, geometry, seed=arguments.random_seed)
    clips = _clips(arguments.csv, arguments.number, geometry, console)
    folder = Path(arguments.output)
    _make(folder)
    previews = []
    with console.progress("Augmenting", total=len(clips), unit="clips") as progress:
        for number, (name, transcript, clip) in enumerate(clips, start=1):
            one = preview(name, transcript, clip, augmenter, geometry, epoch=0, clock=arguments.clock)
            for what, audio in (("before", one.before), ("after", one.after)):
                _write_wav(folder / f"{number:02}-{what}.wav", audio, geometry.sample_rate)
            previews.append(one)
            progress.update()
    measured = costs(augmentations, [clip for _, _, clip in clips], geometry, clock=arguments.clock)
    title = f"{' '.join(map(str, augmentations))} at clock {arguments.clock:g}"
    write_atomically(folder / "sheet.png", [contact_sheet(previews, geometry, title=title)])
    write_atomically(folder / "index.html", [page(previews, measured, title=title).encode()])
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
            labels = np.array([ord(character) for character in row.transcript] or [0], np.int32)  # for their number
            found.append((name, row.transcript, Clip(audio, labels)))
    if not found:
        raise UserError(f"{csv_path}: there is no clip that can be used")
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {folder}: cannot make this folder: {error.strerror}") from error


def _write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 32767 / 32768), rate, format="WAV", subtype="PCM_16")
    write_atomically(path, [file.getvalue()])


if __name__ == "__main__":
    sys.exit(main())
