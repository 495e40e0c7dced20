"""What `--augment` does to clips: what is heard, what the network sees, what is held back, and what it costs."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.augment.augmenter import Augmenter, StepDraws
from deepspeech_training.augment.catalogue import Augmentation
from deepspeech_training.console import Console
from deepspeech_training.data.rows import read_rows
from deepspeech_training.data.sample import labels_with_repeats
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import dct_matrix, fft_length, hann_window

GRIFFIN_LIM_ROUNDS = 60


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


def seen(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation] = ()) -> np.ndarray:
    """The mel bands that the features of a clip say, in dB: MFCC after all augmentations, through the inverse DCT."""
    from deepspeech_training.features.mfcc_keras import mfcc  # Keras takes seconds

    features, frames = mfcc(*_padded([clip]), geometry, augmenter=_step([clip], geometry, augmentations))
    logs = np.asarray(features)[0, : int(np.asarray(frames)[0])] @ np.linalg.pinv(dct_matrix(geometry.n_mfcc))
    return 20 * logs / np.log(10)


def heard(clip: Clip, geometry: FeatureGeometry, augmentations: Sequence[Augmentation]) -> np.ndarray:
    """A waveform with the augmented spectrogram of a clip (Griffin & Lim 1984); the clip's own if none works on it."""
    if not any(a.domain == "spectrogram" for a in augmentations):
        return clip.audio
    from deepspeech_training.features.mfcc_keras import power_spectrogram

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
    from deepspeech_training.augment.spectrogram import StepAugmenter

    return StepAugmenter(
        augmentations, geometry, StepDraws.batch([clip.draws for clip in clips if clip.draws is not None])
    )


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


def read_clips(csv_path: str, number: int, geometry: FeatureGeometry, console: Console) -> list[tuple[str, str, Clip]]:
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


def geometry_at(sample_rate: int) -> FeatureGeometry:
    """The usual features at a sample rate.

    Raises:
        FlagError: their windows would not be whole numbers of samples.
    """
    usual = FeatureGeometry()
    whole = 1000 // math.gcd(1000, usual.win_len_ms, usual.win_step_ms)
    if sample_rate > 0 and sample_rate % whole:
        raise FlagError(
            f"--audio_sample_rate {sample_rate}: windows of {usual.win_len_ms} ms, {usual.win_step_ms} ms apart, would "
            f"not be whole numbers of samples\nTake a multiple of {whole} Hz, such as 8000 or 16000."
        )
    return FeatureGeometry(sample_rate=sample_rate)


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
    from deepspeech_training.features.mfcc_keras import mfcc

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
                return np.asarray(mfcc(*_padded(clips), geometry, augmenter=_step(clips, geometry, chosen))[0])

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
