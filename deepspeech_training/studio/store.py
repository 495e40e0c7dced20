"""All projects of a volume."""

import fcntl
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO

from deepspeech_training.errors import UserError
from deepspeech_training.studio.names import LONGEST_NAME, file_name
from deepspeech_training.studio.project import LONGEST_CONSENT, PROJECT_FILE, Project, Refused
from deepspeech_training.studio.prompts import MOST_PROMPTS
from deepspeech_training.studio.records import Plan, now

log = logging.getLogger("deepspeech.studio")
MOST_PROJECTS = 200
MOST_REPEATS = 20
LOCK_FILE = ".lock"


class Store:
    """The projects below `studio/`, whose corpora go to `corpora/`. One process has them at a time.

    Raises:
        UserError: the folder cannot be written, or another process has it.
    """

    def __init__(self, folder: Path, corpora: Path):
        self._folder, self.corpora = folder, corpora
        self._lock = threading.Lock()
        self._held = _take(folder)
        self._projects: dict[str, Project] = {}
        for path in sorted(folder.iterdir()):
            if (path / PROJECT_FILE).is_file():
                try:
                    self._projects[path.name] = Project(path)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    log.warning("%s is no project that can be read: %s", path, error)

    def close(self) -> None:
        self._held.close()

    @property
    def projects(self) -> list[Project]:
        return list(self._projects.values())

    def project(self, name: str) -> Project:
        """Raises: Refused: there is none of this name."""
        if name not in self._projects:
            raise Refused("there is no such project", "not_found")
        return self._projects[name]

    def corpus_of(self, project: Project) -> Path:
        return self.corpora / project.name

    def make(self, plan: Plan, repeats: int) -> Project:
        """A new project; each text is said `repeats` times, in rounds.

        Raises:
            Refused: it cannot be made.
            UserError: it cannot be written.
        """
        title = " ".join(plan.title.split())
        if not 1 <= len(title) <= LONGEST_NAME:
            raise Refused(f"a title has 1 to {LONGEST_NAME} characters")
        if not plan.prompts:
            raise Refused("there is nothing to read: give one text on each line")
        if not 1 <= repeats <= MOST_REPEATS or len(plan.prompts) * repeats > MOST_PROMPTS:
            raise Refused(
                f"a text is said 1 to {MOST_REPEATS} times, and a project has {MOST_PROMPTS:,} prompts at most"
            )
        if len(plan.consent) > LONGEST_CONSENT:
            raise Refused(f"the text of the consent is longer than {LONGEST_CONSENT:,} characters")
        with self._lock:
            if len(self._projects) >= MOST_PROJECTS:
                raise Refused(f"there are {MOST_PROJECTS} projects, as many as there may be", "too_large")
            taken = {
                path.name for folder in (self._folder, self.corpora) if folder.is_dir() for path in folder.iterdir()
            }
            name = file_name(title, taken, "corpus")  # no corpus that somebody else has put there is written into
            plan = replace(plan, title=title, prompts=plan.prompts * repeats, made_at=now())
            self._projects[name] = project = Project.make(self._folder / name, plan)
            return project


def _take(folder: Path) -> IO[str]:
    """The lock of a folder, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK_FILE, "a")  # noqa: SIM115 - open for as long as it is locked
    except OSError as error:
        raise UserError(
            f"--studio: {folder} cannot be written ({error.strerror})\n"
            "Recordings are kept there: mount the volume for writing, owned by the user of the container."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UserError(
            f"--studio: another app has the recordings in {folder}; start this one without --studio"
        ) from error
    return file
