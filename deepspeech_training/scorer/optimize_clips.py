"""The clips that a search of weights decodes over and over: the probabilities of a model, computed once and kept."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.checkpoints.describe import read_checkpoint
from deepspeech_training.checkpoints.file import DamagedCheckpoint, read_arrays, read_state, write_arrays, write_state
from deepspeech_training.checkpoints.folder import best_or_last
from deepspeech_training.console import Console
from deepspeech_training.data.rows import read_rows
from deepspeech_training.errors import UserError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.models.tflite import ExportSettings, write_tflite
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.stream import to_int16

LISTED_FAULTS = 20


@dataclass(frozen=True)
class Clips:
    """The probabilities of clips and what was said.

    Args:
        probs: float32 [frames, classes] of each clip.
        names, transcripts: by clip.
    """

    probs: list[np.ndarray]
    names: list[str]
    transcripts: list[str]

    @property
    def num_frames(self) -> int:
        return sum(map(len, self.probs))


def network_of_checkpoint(folder: str, console: Console) -> Model:
    """The network of the best checkpoint of a folder, of the last one where there is no best.

    It is exported in float32, so it sees what a client sees: one frame more than in a test of the checkpoint, the end
    of the audio filled up with zeros.

    Raises:
        UserError: there is no checkpoint, or it cannot be used.
    """
    path = best_or_last(Path(folder))
    if path is None:
        raise UserError(
            f"--checkpoint_dir {folder}: there is no checkpoint (best-*.json, train-*.json) in this folder\n"
            "Export one of DeepSpeech 0.9.3 first (deepspeech export), and name the .tflite with --model."
        )
    model = read_checkpoint(path).speech_model()
    console.info(f"Uses {path}")
    exported = write_tflite(
        model.weights,
        alphabet=model.alphabet,
        features=model.features,
        network=model.network,
        settings=ExportSettings(quantize=False),
    )
    return Model(ModelFile.of_bytes(exported, f"the export of {path}"))


def read_clips(network: Model, paths: Sequence[str], folder: Path, console: Console) -> tuple[str, Clips]:
    """The probabilities of all clips of some CSVs, computed or as they were kept, and a key that changes with them.

    Args:
        folder: where they are kept.
    """
    jobs, faults = usable_rows(paths)
    key = key_of(hashlib.sha256(network.file.data).hexdigest(), *jobs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--folder {folder}: this folder cannot be made: {error.strerror}") from error
    state_path, arrays_path = folder / f"{key}.json", folder / f"{key}.safetensors"
    clips = kept_clips(state_path, arrays_path)
    if clips is None:
        clips, unreadable = _computed_clips(network, jobs, console)
        arrays = {"probs": np.concatenate(clips.probs), "frames": np.array([len(probs) for probs in clips.probs])}
        checksum = write_arrays(arrays_path, arrays)
        faults += unreadable
        state = {"names": clips.names, "transcripts": clips.transcripts, "faults": faults, "sha256": checksum}
        write_state(state_path, state)
    for line in faults[:LISTED_FAULTS]:
        console.warn(line)
    if faults:
        console.warn(f"{len(faults):,} clips are left out of the search")
    console.info(f"{len(clips.probs):,} clips, {clips.num_frames:,} frames")
    return key, clips


def usable_rows(paths: Sequence[str]) -> tuple[list[tuple[str, str, int, int]], list[str]]:
    """(path, transcript, size, time of the last change) of every clip, and the rows that cannot be used."""
    jobs, faults = [], []
    for csv_path in paths:
        for row in read_rows(csv_path):
            path = Path(csv_path).parent / row.wav_filename
            try:
                status = path.stat()
            except OSError as error:
                row_fault = row.fault or f"{path}: {error.strerror}"
                faults.append(f"{csv_path}, row {row.row}: {row_fault}")
                continue
            if row.fault or not row.transcript.strip():
                faults.append(f"{csv_path}, row {row.row}: {row.fault or 'the transcript is empty'}")
            else:
                jobs.append((str(path), row.transcript, status.st_size, status.st_mtime_ns))
    if not jobs:
        raise UserError(f"{', '.join(paths)}: there are no clips to search on\n" + "\n".join(faults[:LISTED_FAULTS]))
    return jobs, faults


def kept_clips(state_path: Path, arrays_path: Path) -> Clips | None:
    """What `read_clips` has kept; None where there is nothing, or it is damaged."""
    if not state_path.exists():
        return None
    try:
        state = read_state(state_path)
        arrays = read_arrays(arrays_path, sha256=state["sha256"])
    except (DamagedCheckpoint, KeyError):
        return None
    probs = np.split(arrays["probs"], np.cumsum(arrays["frames"])[:-1])
    return Clips(probs, state["names"], state["transcripts"])


def _computed_clips(
    network: Model, jobs: Sequence[tuple[str, str, int, int]], console: Console
) -> tuple[Clips, list[str]]:
    def compute(job: tuple[str, str, int, int]) -> np.ndarray | str:
        try:
            audio = read_audio(job[0], sample_rate=network.file.geometry.sample_rate)
        except AudioError as error:
            return f"{job[0]}: {error}"
        return network.probabilities(to_int16(audio))

    clips, faults = Clips([], [], []), []
    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        console.progress("running the network", total=len(jobs), unit="clips") as progress,
    ):
        for job, result in zip(jobs, pool.map(compute, jobs), strict=True):
            progress.update()
            if isinstance(result, str):
                faults.append(result)
            else:
                clips.probs.append(result)
                clips.names.append(job[0])
                clips.transcripts.append(job[1])
    if not clips.probs:
        raise UserError("none of the clips can be read\n" + "\n".join(faults[:LISTED_FAULTS]))
    return clips, faults


def key_of(*parts: Any) -> str:
    """A name for files that stays as long as all parts do."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
