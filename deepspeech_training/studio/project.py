"""A project: its prompts, the people who read them, and their takes, each in files that are there whole or not at all.

studio/NAME/project.json         title, language, prompts, the text of the consent
studio/NAME/people/ID.json       pseudonym; what they agreed to, and when
studio/NAME/takes/TAKE.wav       as it was recorded; a take is never changed, another one counts instead of it
studio/NAME/takes/TAKE.mark      what somebody who listened to it has said of it
studio/NAME/takes/TAKE.json      who, which prompt, when, and its figures; written last: then there is a take
"""

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from deepspeech_training.atomic_file import fsync_folder, write_atomically
from deepspeech_training.data.text import Cleaner, tidied
from deepspeech_training.studio.names import LONGEST_NAME, file_name
from deepspeech_training.studio.prompts import MOST_PROMPTS, why_not
from deepspeech_training.studio.records import Mark, Person, Plan, Take, as_time, now
from deepspeech_training.studio.sound import measure, read_take

log = logging.getLogger("deepspeech.studio")
PROJECT_FILE, PEOPLE_DIR, TAKES_DIR = "project.json", "people", "takes"
MOST_PEOPLE = 500
MOST_TAKES = 200_000
LONGEST_CONSENT = 10_000  # characters


class Refused(Exception):
    """What is asked for cannot be: a sentence for the person at the page.

    Args:
        code: one of those of `serving.errors`.
    """

    def __init__(self, message: str, code: str = "bad_request"):
        super().__init__(message)
        self.message, self.code = message, code


class Project:
    """One project in memory and on the disk. Its methods may be called from any thread.

    Raises:
        OSError, ValueError, KeyError, TypeError: `folder` has none.
    """

    def __init__(self, folder: Path):
        self.folder, self.name = folder, folder.name
        found = json.loads((folder / PROJECT_FILE).read_text(encoding="utf-8"))
        self._plan = Plan(**{**found, "prompts": tuple(found["prompts"])})
        self._lock = threading.Lock()
        self._people = {person.id: person for person in read_all(folder / PEOPLE_DIR, lambda found: Person(**found))}
        self._takes = {take.id: take for take in read_all(folder / TAKES_DIR, Take.of_json)}
        self._marks = {
            path.stem: mark
            for path in (folder / TAKES_DIR).glob("*.mark")
            if path.stem in self._takes and (mark := read_record(path, lambda found: Mark(**found)))
        }
        self._current: dict[tuple[str, int], Take] = {}  # (person, prompt) -> the newest take
        for take in self._takes.values():
            self._count(take)

    @classmethod
    def make(cls, folder: Path, plan: Plan) -> "Project":
        """Write a new one into a folder that is not there yet."""
        for name in (PEOPLE_DIR, TAKES_DIR):
            (folder / name).mkdir(parents=True)
        write_atomically(folder / PROJECT_FILE, [as_bytes(asdict(plan))])
        fsync_folder(folder.parent)
        return cls(folder)

    @property
    def plan(self) -> Plan:
        return self._plan

    @property
    def people(self) -> list[Person]:
        return list(self._people.values())

    def takes(self) -> list[Take]:
        """The newest take of each person and prompt, in the order of people and prompts."""
        with self._lock:
            return [take for _, take in sorted(self._current.items())]

    def totals(self) -> dict[str, tuple[int, float]]:
        """Of each person who has read something: how many prompts, and seconds."""
        found: dict[str, tuple[int, float]] = {}
        with self._lock:
            for take in self._current.values():
                count, seconds = found.get(take.person, (0, 0.0))
                found[take.person] = (count + 1, seconds + take.sound.seconds)
        return found

    def takes_of(self, person: str) -> dict[int, Take]:
        """Those that count of one person, by prompt."""
        self.person(person)
        with self._lock:
            return {prompt: take for (name, prompt), take in self._current.items() if name == person}

    def next_prompt(self, person: str) -> int | None:
        """The first one without a take after the take that was recorded last; None where all are done."""
        taken = self.takes_of(person)
        last = max(taken.values(), key=lambda take: take.recorded_at, default=None)
        count = len(self._plan.prompts)
        begin = 0 if last is None else last.prompt + 1
        return next((place % count for place in range(begin, begin + count) if place % count not in taken), None)

    def person(self, name: str) -> Person:
        """Raises: Refused: there is none of this name."""
        if name not in self._people:
            raise Refused("there is no such person in this project", "not_found")
        return self._people[name]

    def take(self, name: str) -> Take:
        """Raises: Refused: there is none."""
        found = self._takes.get(name)
        if found is None:
            raise Refused("there is no such take", "not_found")
        return found

    def mark_of(self, take: Take) -> Mark:
        return self._marks.get(take.id, Mark())

    def mark(self, name: str, mark: Mark) -> Mark:
        """Say something of a take; -> as it is kept. The take itself, and what is shown to those who read, stay.

        Raises:
            Refused: there is none, or the text is none.
            UserError: it cannot be written.
        """
        with self._lock:
            take = self.take(name)
            text = tidied(mark.text)
            if text and (reason := why_not(text, Cleaner(language=self._plan.language))):
                raise Refused(f"this text cannot be: {reason}")
            mark = replace(mark, text="" if text == take.text else text)
            path = self.sound_of(take).with_suffix(".mark")
            if mark == Mark():
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, [as_bytes(asdict(mark))])
            self._marks[name] = mark
            return mark

    def sound_of(self, take: Take) -> Path:
        return self.folder / TAKES_DIR / f"{take.id}.wav"

    def add_person(self, pseudonym: str, *, agreed: bool) -> Person:
        """Somebody new.

        Raises:
            Refused: without a name, one of that name is there, or the consent was not given.
            UserError: it cannot be written.
        """
        pseudonym = " ".join(pseudonym.split())
        with self._lock:
            if not 1 <= len(pseudonym) <= LONGEST_NAME:
                raise Refused(f"a name has 1 to {LONGEST_NAME} characters")
            if any(person.pseudonym.lower() == pseudonym.lower() for person in self._people.values()):
                raise Refused(f"{pseudonym} is there already: choose that name in the list, or take another one")
            if self._plan.consent and not agreed:
                raise Refused("nobody is recorded who has not agreed")
            if len(self._people) >= MOST_PEOPLE:
                raise Refused(f"a project has at most {MOST_PEOPLE} people", "too_large")
            name = file_name(pseudonym, self._people, "speaker")
            person = Person(name, pseudonym, self._plan.consent, now() if agreed else "")
            write_atomically(self.folder / PEOPLE_DIR / f"{name}.json", [as_bytes(asdict(person))])
            self._people[name] = person
            return person

    def add_take(self, identity: UUID, person: str, prompt: int, recorded_at: datetime, content: bytes) -> Take:
        """Write a take; when this returns it is on the disk. The same one again changes nothing.

        Raises:
            Refused: the person or the prompt is not there, or there are too many.
            SoundError: `content` is no take.
            UserError: it cannot be written; then there is nothing of it.
        """
        self.person(person)
        if not 0 <= prompt < len(self._plan.prompts):
            raise Refused("there is no such prompt", "not_found")
        if identity.hex in self._takes:
            return self._takes[identity.hex]
        text = self._plan.prompts[prompt]
        take = Take(identity.hex, person, prompt, text, as_time(recorded_at), measure(*read_take(content), text))
        with self._lock:
            if take.id in self._takes:  # another tab has sent it meanwhile
                return self._takes[take.id]
            self.person(person)
            if len(self._takes) >= MOST_TAKES:
                raise Refused(f"a project has at most {MOST_TAKES:,} takes", "too_large")
            sound = self.sound_of(take)
            write_atomically(sound, [content])
            try:
                write_atomically(sound.with_suffix(".json"), [as_bytes(take.as_json())])
            except BaseException:
                sound.unlink(missing_ok=True)
                raise
            self._takes[take.id] = take
            self._count(take)
        return take

    def remove_take(self, name: str) -> None:
        """Take back a take; an earlier one of the same prompt counts again.

        Raises:
            Refused: there is none.
        """
        with self._lock:
            take = self.take(name)
            self._delete(take)
            self._current.pop((take.person, take.prompt), None)
            for other in self._takes.values():
                if (other.person, other.prompt) == (take.person, take.prompt):
                    self._count(other)

    def remove_person(self, name: str) -> None:
        """Delete a person and all that was recorded: a consent may be withdrawn.

        Raises:
            Refused: there is none of this name.
            OSError: something cannot be deleted; the rest is deleted at the next try.
        """
        self.person(name)
        with self._lock:
            for take in [take for take in self._takes.values() if take.person == name]:
                self._delete(take)
            (self.folder / PEOPLE_DIR / f"{name}.json").unlink(missing_ok=True)
            del self._people[name]
            self._current = {place: take for place, take in self._current.items() if place[0] != name}

    def _delete(self, take: Take) -> None:
        sound = self.sound_of(take)
        sound.with_suffix(".json").unlink(missing_ok=True)
        sound.unlink(missing_ok=True)
        sound.with_suffix(".mark").unlink(missing_ok=True)
        self._marks.pop(take.id, None)
        del self._takes[take.id]

    def add_prompts(self, texts: Sequence[str]) -> int:
        """Add those that are not there yet, at the end; -> how many.

        Raises:
            Refused: they become too many.
            UserError: they cannot be written.
        """
        with self._lock:
            known = set(self._plan.prompts)
            new = [text for text in texts if text not in known]
            if len(known) + len(new) > MOST_PROMPTS:
                raise Refused(f"a project has at most {MOST_PROMPTS:,} prompts", "too_large")
            plan = replace(self._plan, prompts=(*self._plan.prompts, *new))
            write_atomically(self.folder / PROJECT_FILE, [as_bytes(asdict(plan))])
            self._plan = plan
            return len(new)

    def _count(self, take: Take) -> None:
        place = (take.person, take.prompt)
        if place not in self._current or self._current[place].recorded_at <= take.recorded_at:
            self._current[place] = take


def as_bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def read_all(folder: Path, make):
    """What the JSON files of a folder say."""
    return [found for path in sorted(folder.glob("*.json")) if (found := read_record(path, make)) is not None]


def read_record(path: Path, make):
    """What a JSON file says; None where it is damaged, which is told."""
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read and is passed over: %s", path, error)
        return None
