"""New exports under the same path go live without a restart; a broken one is refused, and the old one stays."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.models import ModelSource, find_sources, load


class Reloader:
    """Looks at the files of the models every few seconds. Streams that are open keep the model that they began with.

    Args:
        sources: what has been loaded.
        every_s: 0: never.
        num_threads: as `models.load` has it.
    """

    def __init__(
        self,
        engine: Engine,
        path: Path,
        scorer: Path | None,
        sources: Sequence[ModelSource],
        console: Console,
        *,
        every_s: float,
        num_threads: int,
    ):
        self._engine, self._console = engine, console
        self._path, self._scorer = path, scorer
        self._every_s, self._num_threads = every_s, num_threads
        self._loaded = {source.name: source.signature() for source in sources}
        self._seen: dict[str, tuple] = {}

    async def run(self) -> None:
        """Look for ever."""
        while self._every_s > 0:
            await asyncio.sleep(self._every_s)
            await self.look()

    async def look(self) -> None:
        """Load what has changed and then stayed the same for one look: a file may still be written."""
        try:
            sources = await asyncio.to_thread(find_sources, self._path, self._scorer)
        except (UserError, OSError):
            return  # a folder that is being replaced; what is loaded stays
        for source in sources:
            signature = source.signature()
            settled = self._seen.get(source.name) == signature
            self._seen[source.name] = signature
            if settled and signature not in ((), self._loaded.get(source.name)):
                self._loaded[source.name] = signature  # not tried again, broken or not, before it changes
                await self._take(source)

    async def _take(self, source: ModelSource) -> None:
        try:
            served = (await asyncio.to_thread(load, [source], num_threads=self._num_threads))[0]
        except UserError as error:
            self._engine.metrics.reloads.labels("refused").inc()
            kept = "the one before stays" if source.name in self._engine.models else "it is not served"
            self._console.error(f"Model {source.name} has changed and cannot be used; {kept}:\n{error}")
            return
        self._engine.models[source.name] = served
        self._engine.metrics.reloads.labels("live").inc()
        self._console.info(
            f"Model {source.name} has changed: the new one is live, sha256 {served.facts['sha256'][:12]}"
        )
