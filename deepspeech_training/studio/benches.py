"""All benches of a volume; the lock of the studio's folder is theirs too."""

import logging
import threading
from pathlib import Path

from deepspeech_training.studio.bench import BENCH_FILE, BenchFolder
from deepspeech_training.studio.heard import Bench
from deepspeech_training.studio.names import LONGEST_NAME, file_name
from deepspeech_training.studio.project import Refused
from deepspeech_training.studio.records import now

log = logging.getLogger("deepspeech.studio")
MOST_BENCHES = 200


class Benches:
    """The benches below `listening/`, whose corpora go to `corpora/`.

    Args:
        others: folders with names that are taken, since their corpora go there too.
    """

    def __init__(self, folder: Path, corpora: Path, others: Path):
        self._folder, self._corpora, self._others = folder, corpora, others
        self._lock = threading.Lock()
        self._benches: dict[str, BenchFolder] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if (path / BENCH_FILE).is_file():
                try:
                    self._benches[path.name] = BenchFolder(path)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    log.warning("%s is no bench that can be read: %s", path, error)

    def all(self) -> list[BenchFolder]:
        """The newest first."""
        return sorted(self._benches.values(), key=lambda found: found.bench.made_at, reverse=True)

    def find(self, name: str) -> BenchFolder:
        """Raises: Refused: there is none of this name."""
        if name not in self._benches:
            raise Refused("there are no such recordings", "not_found")
        return self._benches[name]

    def corpus_of(self, bench: BenchFolder) -> Path:
        return self._corpora / bench.name

    def make(self, title: str, language: str) -> BenchFolder:
        """A new one.

        Raises:
            Refused: it cannot be made.
            OSError, UserError: it cannot be written.
        """
        title = " ".join(title.split())
        if not 1 <= len(title) <= LONGEST_NAME:
            raise Refused(f"a title has 1 to {LONGEST_NAME} characters")
        with self._lock:
            if len(self._benches) >= MOST_BENCHES:
                raise Refused(f"there are {MOST_BENCHES} already, as many as there may be", "too_large")
            folders = [folder for folder in (self._folder, self._corpora, self._others) if folder.is_dir()]
            taken = {path.name for folder in folders for path in folder.iterdir()}
            name = file_name(title, taken, "recordings")  # no corpus that somebody else has put there is written into
            self._benches[name] = made = BenchFolder.make(self._folder / name, Bench(title, language, now()))
            return made
