"""Recordings that a model has cut and transcribed, until a person has said of each piece whether it is right.

listening/NAME/bench.json             title and language
listening/NAME/pieces/PIECE.wav       as it was heard, at the rate of the model; it is never changed
listening/NAME/pieces/PIECE.json      where it comes from, and what was heard; written last: then there is a piece
listening/NAME/pieces/PIECE.verdict   accepted or rejected, and what is really said
listening/NAME/versions/0001/SET.csv  each corpus that was saved, as it was
"""

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path
from uuid import UUID

import numpy as np

from deepspeech_training.atomic_file import fsync_folder, write_atomically
from deepspeech_training.data.text import Cleaner, tidied
from deepspeech_training.studio.corpus import as_wav
from deepspeech_training.studio.heard import Bench, Heard, Verdict
from deepspeech_training.studio.project import Refused, as_bytes, read_all, read_record
from deepspeech_training.studio.prompts import why_not

BENCH_FILE, PIECES_DIR, VERSIONS_DIR = "bench.json", "pieces", "versions"
MOST_PIECES = 50_000


class BenchFolder:
    """One bench in memory and on the disk. Its methods may be called from any thread.

    Raises:
        OSError, ValueError, KeyError, TypeError: `folder` has none.
    """

    def __init__(self, folder: Path):
        self.folder, self.name = folder, folder.name
        self.bench = Bench(**json.loads((folder / BENCH_FILE).read_text(encoding="utf-8")))
        self._lock = threading.Lock()
        self._pieces = {piece.id: piece for piece in read_all(folder / PIECES_DIR, Heard.of_json)}
        self._verdicts = {
            path.stem: verdict
            for path in (folder / PIECES_DIR).glob("*.verdict")
            if path.stem in self._pieces and (verdict := read_record(path, lambda found: Verdict(**found)))
        }

    @classmethod
    def make(cls, folder: Path, bench: Bench) -> "BenchFolder":
        """Write a new one into a folder that is not there yet."""
        (folder / PIECES_DIR).mkdir(parents=True)
        write_atomically(folder / BENCH_FILE, [as_bytes(asdict(bench))])
        fsync_folder(folder.parent)
        return cls(folder)

    def pieces(self) -> list[Heard]:
        """All, in the order in which they were said."""
        with self._lock:
            return sorted(self._pieces.values(), key=lambda piece: (piece.recording, piece.start_s))

    def piece(self, name: str) -> Heard:
        """Raises: Refused: there is none."""
        found = self._pieces.get(name)
        if found is None:
            raise Refused("there is no such piece", "not_found")
        return found

    def verdict(self, piece: Heard) -> Verdict:
        return self._verdicts.get(piece.id, Verdict())

    def said(self, piece: Heard) -> str:
        """What is said, as far as is known."""
        return self.verdict(piece).text or piece.text

    def sound_of(self, piece: Heard) -> Path:
        return self.folder / PIECES_DIR / f"{piece.id}.wav"

    def add(self, piece: Heard, samples: np.ndarray, sample_rate: int) -> None:
        """Write a piece, int16 [samples]; when this returns it is on the disk. The same one again changes nothing.

        Raises:
            Refused: there are too many.
            UserError: it cannot be written; then there is nothing of it.
        """
        with self._lock:
            if piece.id in self._pieces:
                return
            if len(self._pieces) >= MOST_PIECES:
                raise Refused(f"there are {MOST_PIECES:,} pieces, as many as there may be", "too_large")
            sound = self.sound_of(piece)
            write_atomically(sound, [as_wav(samples, sample_rate)])
            try:
                write_atomically(sound.with_suffix(".json"), [as_bytes(piece.as_json())])
            except BaseException:
                sound.unlink(missing_ok=True)
                raise
            self._pieces[piece.id] = piece

    def judge(self, name: str, verdict: Verdict) -> Verdict:
        """Say something of a piece; -> as it is kept. What was heard stays, so that this can be taken back.

        Raises:
            Refused: there is none, or the text cannot be learned.
            UserError: it cannot be written.
        """
        with self._lock:
            piece = self.piece(name)
            text = tidied(verdict.text)
            said = text or piece.text
            if (text or verdict.state == "accepted") and (
                reason := why_not(said, Cleaner(language=self.bench.language))
            ):
                raise Refused(f"this text cannot be: {reason}")
            verdict = replace(verdict, text="" if text == piece.text else text)
            path = self.sound_of(piece).with_suffix(".verdict")
            if verdict == Verdict():
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, [as_bytes(asdict(verdict))])
            self._verdicts[name] = verdict
            return verdict

    def remove(self, recording: UUID) -> int:
        """Delete the pieces of a recording; -> how many.

        Raises:
            Refused: there is none.
            OSError: something cannot be deleted; the rest is deleted at the next try.
        """
        with self._lock:
            found = [piece for piece in self._pieces.values() if piece.recording == recording.hex]
            if not found:
                raise Refused("there is no such recording", "not_found")
            for piece in found:
                sound = self.sound_of(piece)
                for path in (sound.with_suffix(".json"), sound, sound.with_suffix(".verdict")):
                    path.unlink(missing_ok=True)
                del self._pieces[piece.id]
                self._verdicts.pop(piece.id, None)
            return len(found)
