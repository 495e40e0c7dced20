"""The clips of the last validation, to read and to hear; and the rows of the data that were left out.

No path of a request becomes a path of a file: a clip is asked for by its number in the list that the training has
written, and what is sent is the sound of it, decoded here, so that nothing but sound leaves the volume.
"""

import asyncio
import contextlib
import csv
import io
import os
import wave
from collections import Counter
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from deepspeech_training.app.status import Status
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.files import read_audio
from deepspeech_training.audio.parts import AudioInfo
from deepspeech_training.reporting.validated import read_validated
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.values import whole

MOST_FILE_BYTES = 64 << 20
MOST_CLIP_S = 120
SAMPLE_RATE = 16000
REJECTED_FILE = "rejected.csv"
ROWS_SHOWN = 50
NONE_REJECTED: dict[str, Any] = {"count": 0, "reasons": {}, "rows": []}


class Clips:
    """Of the training in hand, or of the run that `run` of a request names."""

    def __init__(self, status: Status):
        self._status = status
        self._decoding = asyncio.Lock()  # one at a time: the training needs the cores

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/status/clips", self._list),
            Route("/v1/status/clips/{number:int}", self._play),
            Route("/v1/status/rejected", self._rejected),
        ]

    async def _folder(self, request: Request) -> Path | None:
        return await self._status.folder(request.query_params.get("run", ""))

    async def _found(self, request: Request) -> dict[str, Any]:
        folder = await self._folder(request)
        found = await asyncio.to_thread(read_validated, folder) if folder else None
        return found or {"epoch": None, "of": 0, "clips": []}

    async def _list(self, request: Request) -> Response:
        """GET /v1/status/clips: the best, median and worst ones, by WER, then loss."""
        found = await self._found(request)
        clips = [{**clip, "wav_filename": _as_text(clip["wav_filename"])} for clip in found["clips"]]
        return JSONResponse({**found, "clips": clips})

    async def _play(self, request: Request) -> Response:
        """GET /v1/status/clips/NUMBER?epoch=EPOCH: one of that list as a WAV; 404 where there is a newer one."""
        number = request.path_params["number"]
        epoch = whole(request.query_params.get("epoch", "none"), "epoch", least=0, most=1 << 31)
        found = await self._found(request)
        if found["epoch"] != epoch or number >= len(found["clips"]):
            raise ServingError("the last validation has no such clip: ask for the list again", "not_found")
        async with self._decoding:
            content = await asyncio.to_thread(_as_wav, found["clips"][number]["wav_filename"])
        return Response(content, media_type="audio/wav", headers={"Cache-Control": "no-store"})

    async def _rejected(self, request: Request) -> Response:
        """GET /v1/status/rejected: how many rows were left out, for which reasons, and the first of them."""
        folder = await self._folder(request)
        return JSONResponse(await asyncio.to_thread(_rejected_rows, folder) if folder else NONE_REJECTED)


def _as_text(path: str) -> str:
    """A path of which some bytes may be no UTF-8, which JSON cannot have."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _as_wav(path: str) -> bytes:
    """A clip as a WAV, mono, 16 bits.

    Raises:
        ServingError: it is gone, is no sound, or is too long.
    """

    def check(info: AudioInfo) -> None:
        if info.duration_s > MOST_CLIP_S:
            raise ServingError(f"the clip is longer than {MOST_CLIP_S} s", "too_long")

    try:
        if os.path.getsize(path) > MOST_FILE_BYTES:
            raise ServingError(f"the file is larger than {MOST_FILE_BYTES >> 20} MiB", "too_large")
        samples = read_audio(path, sample_rate=SAMPLE_RATE, dtype="int16", check=check)
    except OSError as error:
        raise ServingError(f"the clip cannot be read any more: {error.strerror}", "not_found") from error
    except AudioError as error:
        raise ServingError(f"the clip cannot be read: {error.reason}", "not_found") from error
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def _rejected_rows(folder: Path) -> dict[str, Any]:
    shown = ("csv", "row", "wav_filename", "transcript", "reason_code", "reason")
    reasons: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    # Without a file there are none; a row that is no CSV ends it, and what was counted before is told.
    with (
        contextlib.suppress(OSError, csv.Error),
        open(folder / REJECTED_FILE, encoding="utf-8", errors="replace", newline="") as file,
    ):
        for row in csv.DictReader(file):
            reasons[str(row.get("reason_code"))] += 1
            if len(rows) < ROWS_SHOWN:
                rows.append({name: row.get(name) or "" for name in shown})
    return {"count": reasons.total(), "reasons": dict(reasons.most_common()), "rows": rows}
