"""The studio over HTTP: all below /v1/studio wants the key, where one is set; the page itself is /studio."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from deepspeech_training.errors import UserError
from deepspeech_training.serving import pages
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.values import bad, check_names, shown, text, truth, whole
from deepspeech_training.studio import corpus
from deepspeech_training.studio.bodies import body_of, json_of
from deepspeech_training.studio.checking import ORDERS, PAGE, ordered, pace
from deepspeech_training.studio.project import LONGEST_CONSENT, Project, Refused
from deepspeech_training.studio.prompts import LEFT_OUT_SHOWN, LONGEST_PROMPT, Prompts, read_prompts, telling_first
from deepspeech_training.studio.records import Mark, Plan, Take
from deepspeech_training.studio.sound import MOST_BYTES, MOST_S, REMARKS, UNUSABLE, SoundError
from deepspeech_training.studio.store import Store

log = logging.getLogger("deepspeech.studio")
Handler = Callable[..., Awaitable[Response]]
OF_A_PROJECT = ("title", "texts", "language", "repeats", "telling_first", "consent")
AT_ONCE = 4  # takes that are measured and written; the others wait


def told(handler: Handler) -> Handler:
    """What a person can fix is answered with a sentence, whatever part of the studio has found it."""

    @functools.wraps(handler)
    async def handle(self: "Studio", request: Request) -> Response:
        try:
            return await handler(self, request)
        except Refused as refused:
            raise ServingError(refused.message, refused.code) from None
        except SoundError as error:
            raise ServingError(str(error), "bad_audio") from None
        except (OSError, UserError) as error:
            log.error("the studio cannot write: %s", error)
            raise ServingError(
                "the service cannot write it: its disk is full, or must not be written; its log says more", "no_room"
            ) from None

    return handle


class Studio:
    """What the page asks for."""

    def __init__(self, store: Store):
        self._store = store
        self._measuring = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        of_project = "/v1/studio/projects/{name}"
        return [
            pages.page_route("/studio", "studio.html"),
            Route("/v1/studio", self._list),
            Route("/v1/studio/projects", self._make, methods=["POST"]),
            Route(of_project, self._show),
            Route(f"{of_project}/prompts", self._add_prompts, methods=["POST"]),
            Route(f"{of_project}/people", self._add_person, methods=["POST"]),
            Route(f"{of_project}/people/{{person}}", self._person, methods=["GET", "DELETE"]),
            Route(f"{of_project}/takes/{{take:uuid}}", self._take, methods=["GET", "PUT", "DELETE"]),
            Route(f"{of_project}/takes", self._takes),
            Route(f"{of_project}/takes/{{take:uuid}}/mark", self._mark, methods=["POST"]),
            Route(f"{of_project}/corpus", self._save, methods=["POST"]),
        ]

    def _project(self, request: Request) -> Project:
        return self._store.project(request.path_params["name"])

    @told
    async def _list(self, request: Request) -> Response:
        """GET /v1/studio: the projects, the newest first, and what a page must know."""
        projects = sorted(self._store.projects, key=lambda project: project.plan.made_at, reverse=True)
        return JSONResponse(
            {
                "projects": [_in_short(project) for project in projects],
                "most_s": MOST_S,
                "remarks": {code: {"text": said, "unusable": code in UNUSABLE} for code, said in REMARKS.items()},
            }
        )

    @told
    async def _make(self, request: Request) -> Response:
        """POST /v1/studio/projects."""
        wanted = await json_of(request)
        check_names(wanted, OF_A_PROJECT, "a project")
        language = text(wanted.get("language", ""), "language")
        found = await _read(wanted, language)
        repeats = whole(wanted.get("repeats", 1), "repeats", least=1, most=1000)
        if truth(wanted.get("telling_first", True), "telling_first"):
            found = Prompts(tuple(await asyncio.to_thread(telling_first, found.texts)), found.left_out)
        plan = Plan(
            title=text(wanted.get("title", ""), "title"),
            language=language,
            prompts=found.texts,
            consent=_long_text(wanted.get("consent", ""), "consent", LONGEST_CONSENT).strip(),
            made_at="",
        )
        project = await asyncio.to_thread(self._store.make, plan, repeats)
        return JSONResponse({**_in_short(project), **_left_out(found)}, 201)

    @told
    async def _show(self, request: Request) -> Response:
        """GET /v1/studio/projects/NAME: its prompts and people."""
        project = self._project(request)
        totals = project.totals()
        people = []
        for person in project.people:
            count, seconds = totals.get(person.id, (0, 0.0))
            people.append({**asdict(person), "takes": count, "seconds": round(seconds, 1)})
        return JSONResponse({**_in_short(project), **asdict(project.plan), "people": people})

    @told
    async def _add_prompts(self, request: Request) -> Response:
        """POST .../prompts {"texts": ...}: more to read, after what is there."""
        project, wanted = self._project(request), await json_of(request)
        check_names(wanted, ("texts",), "the message")
        found = await _read(wanted, project.plan.language)
        added = await asyncio.to_thread(project.add_prompts, found.texts)
        return JSONResponse({**_in_short(project), "added": added, **_left_out(found)})

    @told
    async def _add_person(self, request: Request) -> Response:
        """POST .../people {"pseudonym": ..., "agreed": true}."""
        project, wanted = self._project(request), await json_of(request)
        check_names(wanted, ("pseudonym", "agreed"), "a person")
        pseudonym, agreed = text(wanted.get("pseudonym", ""), "pseudonym"), truth(wanted.get("agreed", False), "agreed")
        person = await asyncio.to_thread(lambda: project.add_person(pseudonym, agreed=agreed))
        return JSONResponse(asdict(person), 201)

    @told
    async def _person(self, request: Request) -> Response:
        """.../people/ID: GET what this person has read, and what comes next; DELETE all of it, in the corpus too."""
        project, name = self._project(request), request.path_params["person"]
        if request.method == "DELETE":
            await asyncio.to_thread(self._remove, project, name)
            return JSONResponse({"removed": name})
        taken = project.takes_of(name)
        return JSONResponse(
            {
                **asdict(project.person(name)),
                "takes": {prompt: _as_json(take) for prompt, take in sorted(taken.items())},
                "next": project.next_prompt(name),
            }
        )

    def _remove(self, project: Project, name: str) -> None:
        project.remove_person(name)
        corpus.forget(project, self._store.corpus_of(project), name)

    @told
    async def _take(self, request: Request) -> Response:
        """.../takes/UUID: GET the sound; PUT a WAV, ?person=ID&prompt=N&recorded_at=TIME; DELETE takes it back."""
        project, identity = self._project(request), request.path_params["take"]
        if request.method == "DELETE":
            await asyncio.to_thread(project.remove_take, identity.hex)
            return JSONResponse({"removed": identity.hex})
        if request.method != "PUT":
            path = project.sound_of(project.take(identity.hex))
            return FileResponse(path, media_type="audio/wav", headers={"Cache-Control": "no-store"})
        query = request.query_params
        prompt = whole(query.get("prompt", ""), "prompt", least=0, most=1 << 31)
        recorded_at = _moment(query.get("recorded_at", ""))
        content = await body_of(request, MOST_BYTES)
        async with self._measuring:
            take = await asyncio.to_thread(
                project.add_take, identity, query.get("person", ""), prompt, recorded_at, content
            )
        return JSONResponse(_as_json(take), 201)

    @told
    async def _takes(self, request: Request) -> Response:
        """GET .../takes?order=oddest&person=ID&from=0: those that count, a page of them."""
        project, query = self._project(request), request.query_params
        order, person = query.get("order", "oddest"), query.get("person", "")
        if order not in ORDERS:
            raise bad(f"order must be one of {', '.join(ORDERS)}, it is {shown(order)}", "order")
        first = whole(query.get("from", 0), "from", least=0, most=1 << 31)
        takes = await asyncio.to_thread(ordered, project, order, person)
        page = [
            {**_as_json(take), **asdict(project.mark_of(take)), "shown": take.text, "pace": round(pace(take), 1)}
            for take in takes[first : first + PAGE]
        ]
        return JSONResponse({"total": len(takes), "from": first, "page": PAGE, "takes": page})

    @told
    async def _mark(self, request: Request) -> Response:
        """POST .../takes/UUID/mark {"dropped": true, "text": ""}: leave it out, or say what is really said."""
        project, wanted = self._project(request), await json_of(request)
        check_names(wanted, ("dropped", "text"), "a mark")
        said = _long_text(wanted.get("text", ""), "text", LONGEST_PROMPT)
        mark = Mark(truth(wanted.get("dropped", False), "dropped"), said)
        kept = await asyncio.to_thread(project.mark, request.path_params["take"].hex, mark)
        return JSONResponse(asdict(kept))

    @told
    async def _save(self, request: Request) -> Response:
        """POST .../corpus: write the clips and CSVs of what has been recorded."""
        project = self._project(request)
        saved = await asyncio.to_thread(corpus.save, project, self._store.corpus_of(project))
        return JSONResponse({**asdict(saved), "folder": str(saved.folder)})


async def _read(wanted: dict[str, Any], language: str) -> Prompts:
    texts = wanted.get("texts", "")
    if not isinstance(texts, str):
        raise bad(f"texts must be a text, it is {shown(texts)}", "texts")
    return await asyncio.to_thread(read_prompts, texts, language)


def _long_text(found: object, name: str, most: int) -> str:
    if not isinstance(found, str) or len(found) > most:
        raise bad(f"{name} must be a text of at most {most:,} characters", name)
    return found


def _moment(found: str) -> datetime:
    """When a take was recorded, in ISO 8601; now, where nothing is said."""
    try:
        moment = datetime.fromisoformat(found) if found else datetime.now(UTC)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise bad(f"recorded_at must be a time such as 2026-01-31T12:00:00Z, it is {shown(found)}") from None


def _in_short(project: Project) -> dict[str, Any]:
    totals = project.totals().values()
    return {
        "name": project.name,
        "title": project.plan.title,
        "num_prompts": len(project.plan.prompts),
        "num_people": len(project.people),
        "num_takes": sum(count for count, _ in totals),
        "seconds": round(sum(seconds for _, seconds in totals), 1),
    }


def _left_out(found: Prompts) -> dict[str, Any]:
    shown_ones = [asdict(left_out) for left_out in found.left_out[:LEFT_OUT_SHOWN]]
    return {"num_left_out": len(found.left_out), "left_out": shown_ones}


def _as_json(take: Take) -> dict[str, Any]:
    return {**take.as_json(), "id": str(UUID(take.id)), "is_usable": take.is_usable}
