"""The runs on the volume that the status page can look at, besides the training in hand."""

import asyncio
from pathlib import Path

from deepspeech_training.app.runs import FoundRun, find_runs
from deepspeech_training.serving.errors import ServingError

MOST_RUNS = 200


class RunChoice:
    """Keeps what it has read of each log, so that only what is new is read.

    Args:
        folder: of checkpoints, and of folders of checkpoints.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._known: dict[Path, FoundRun] = {}
        self._looking = asyncio.Lock()

    async def look(self) -> list[FoundRun]:
        """The runs, the one that was written last first. Nothing is read of them."""
        async with self._looking:
            found = await asyncio.to_thread(find_runs, self._folder)
            self._known = {run.folder: self._known.get(run.folder, run) for run in found}
            return list(self._known.values())

    async def of_name(self, name: str) -> FoundRun:
        """One of them, read up to now. The name is looked up among those that there are.

        Raises:
            ServingError: there is none of this name.
        """
        run = next((run for run in await self.look() if run.name == name), None)
        if run is None:
            raise ServingError(f"there is no run {name[:100]!r} on this volume", "not_found")
        await asyncio.to_thread(run.read)
        return run

    async def read(self) -> list[FoundRun]:
        """The newest runs, each read up to now."""
        runs = (await self.look())[:MOST_RUNS]
        for run in runs:
            await asyncio.to_thread(run.read)
        return runs
