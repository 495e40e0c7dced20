"""Recordings to listen to and correct, over HTTP: all below /v1/studio/listening wants the key, where one is set."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from deepspeech_training.runtime.events import Final
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.uploads import unless_gone
from deepspeech_training.serving.values import bad, check_names, shown, text, whole
from deepspeech_training.studio import bench_corpus
from deepspeech_training.studio.bench import BenchFolder
from deepspeech_training.studio.benches import Benches
from deepspeech_training.studio.bodies import body_of, json_of
from deepspeech_training.studio.heard import STATES, Heard, HeardWord, State, Verdict
from deepspeech_training.studio.prompts import LONGEST_PROMPT
from deepspeech_training.studio.routes import told

PAGE = 30
LONGEST_PIECE_S = 10.0  # what somebody corrects at once; a corpus is made of such sentences
LONGEST_NAME = 100  # of a recording, as its sender calls it
ORDERS: dict[str, Callable[[Heard], Any]] = {
    "unsure": lambda piece: piece.confidence,
    "sure": lambda piece: -piece.confidence,
    "time": lambda piece: (piece.recording, piece.start_s),
}


class Listening:
    """What the page asks for."""

    def __init__(self, benches: Benches):
        self._benches = benches

    def routes(self) -> list[BaseRoute]:
        all_of_them = "/v1/studio/listening"
        one = f"{all_of_them}/{{name}}"
        return [
            Route(all_of_them, self._list, methods=["GET", "POST"]),
            Route(one, self._show),
            Route(f"{one}/recordings/{{recording:uuid}}", self._recording, methods=["PUT", "DELETE"]),
            Route(f"{one}/pieces/{{piece}}", self._sound),
            Route(f"{one}/pieces/{{piece}}/verdict", self._judge, methods=["POST"]),
            Route(f"{one}/corpus", self._save, methods=["POST"]),
        ]

    def _bench(self, request: Request) -> BenchFolder:
        return self._benches.find(request.path_params["name"])

    @told
    async def _list(self, request: Request) -> Response:
        """/v1/studio/listening: GET all, the newest first; POST {"title", "language"} makes one."""
        if request.method != "POST":
            return JSONResponse({"listening": await asyncio.to_thread(self._all_in_short)})
        wanted = await json_of(request)
        check_names(wanted, ("title", "language"), "the message")
        title, language = (text(wanted.get(name, ""), name) for name in ("title", "language"))
        made = await asyncio.to_thread(self._benches.make, title, language)
        return JSONResponse(_in_short(made), 201)

    @told
    async def _show(self, request: Request) -> Response:
        """GET .../NAME?state=open&order=unsure&from=0: its recordings, and a page of the pieces in a state."""
        bench, query = self._bench(request), request.query_params
        state, order = query.get("state", "open"), query.get("order", "unsure")
        if state not in STATES or order not in ORDERS:
            known = f"state must be one of {', '.join(STATES)}, and order one of {', '.join(ORDERS)}"
            raise bad(f"{known}; they are {shown(state)} and {shown(order)}")
        first = whole(query.get("from", 0), "from", least=0, most=1 << 31)
        return JSONResponse(await asyncio.to_thread(_page, bench, state, order, first))

    def _all_in_short(self) -> list[dict[str, Any]]:
        return [_in_short(bench) for bench in self._benches.all()]

    @told
    async def _recording(self, request: Request) -> Response:
        """.../recordings/UUID: PUT an audio file, ?name=FILE, which is cut and transcribed; DELETE all of it."""
        bench, recording = self._bench(request), request.path_params["recording"]
        if request.method == "DELETE":
            await asyncio.to_thread(self._remove, bench, recording)
            return JSONResponse({"removed": str(recording)})
        service: Service = request.app.state.service
        engine = service.engine
        name = " ".join(request.query_params.get("name", "").split())[:LONGEST_NAME] or "recording"
        engine.begin_upload()
        try:
            content = await body_of(request, service.limits.max_upload_bytes)
            served = engine.model(request.query_params.get("model"))
            settings = engine.settings(served)
            model = "/".join(filter(None, (served.name, served.facts.get("version"))))
            added = 0
            with await unless_gone(request, engine.open_file(served.sample_rate, content, name)) as file:
                async for final in file.finals(served, settings, longest_s=LONGEST_PIECE_S):
                    piece = _heard(final, recording, name, model)
                    await asyncio.to_thread(bench.add, piece, file.piece(final.start_s, final.end_s), file.sample_rate)
                    added += 1
                seconds = file.seconds
        finally:
            engine.end_upload()
        return JSONResponse({"id": str(recording), "name": name, "pieces": added, "seconds": round(seconds, 2)}, 201)

    def _remove(self, bench: BenchFolder, recording: UUID) -> None:
        bench.remove(recording)
        bench_corpus.forget(bench, self._benches.corpus_of(bench), recording.hex)

    @told
    async def _sound(self, request: Request) -> Response:
        """GET .../pieces/ID: its sound."""
        bench = self._bench(request)
        path: Path = bench.sound_of(bench.piece(request.path_params["piece"]))
        return FileResponse(path, media_type="audio/wav", headers={"Cache-Control": "no-store"})

    @told
    async def _judge(self, request: Request) -> Response:
        """POST .../pieces/ID/verdict {"state": "accepted", "text": ""}: whether it is right, or what is really said."""
        bench, wanted = self._bench(request), await json_of(request)
        check_names(wanted, ("state", "text"), "a verdict")
        state, said = wanted.get("state", "open"), wanted.get("text", "")
        if state not in STATES:
            raise bad(f"state must be one of {', '.join(STATES)}, it is {shown(state)}", "state")
        if not isinstance(said, str) or len(said) > LONGEST_PROMPT:
            raise bad(f"text must be a text of at most {LONGEST_PROMPT} characters", "text")
        verdict = Verdict(cast(State, state), said)
        kept = await asyncio.to_thread(bench.judge, request.path_params["piece"], verdict)
        return JSONResponse({**asdict(kept), "counts": await asyncio.to_thread(_counts, bench)})

    @told
    async def _save(self, request: Request) -> Response:
        """POST .../corpus: write the clips and CSVs of what is accepted, as a new version."""
        bench = self._bench(request)
        saved = await asyncio.to_thread(bench_corpus.save, bench, self._benches.corpus_of(bench))
        return JSONResponse({**asdict(saved), "folder": str(saved.folder)})


def _heard(final: Final, recording: UUID, name: str, model: str) -> Heard:
    words = tuple(HeardWord(word.text, round(word.confidence, 3)) for word in final.words)
    times = (round(final.start_s, 3), round(final.end_s, 3))
    piece = f"{recording.hex}-{final.seq:05}"
    return Heard(piece, recording.hex, name, *times, final.text, round(final.confidence, 4), words, model)


def _counts(bench: BenchFolder) -> dict[State, int]:
    counts = dict.fromkeys(STATES, 0)
    for piece in bench.pieces():
        counts[bench.verdict(piece).state] += 1
    return counts


def _in_short(bench: BenchFolder) -> dict[str, Any]:
    return {"name": bench.name, **asdict(bench.bench), "counts": _counts(bench)}


def _page(bench: BenchFolder, state: str, order: str, first: int) -> dict[str, Any]:
    """The pieces in a state, PAGE of them from number `first` on, and what a page must know beside them."""
    pieces = bench.pieces()
    found = sorted((piece for piece in pieces if bench.verdict(piece).state == state), key=ORDERS[order])
    shown_ones = [
        {**piece.as_json(), **asdict(bench.verdict(piece)), "heard": piece.text}
        for piece in found[first : first + PAGE]
    ]
    facts = {"total": len(found), "from": first, "page": PAGE, "pieces": shown_ones}
    return {**_in_short(bench), "recordings": _recordings(pieces), **facts}


def _recordings(pieces: Sequence[Heard]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for piece in pieces:
        facts = found.setdefault(piece.recording, {"id": str(UUID(piece.recording)), "name": piece.name, "pieces": 0})
        facts["pieces"] += 1
    return list(found.values())
