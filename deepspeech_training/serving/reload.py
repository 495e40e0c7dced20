"""New exports under the same path go live without a restart; a broken one is refused, and the old one stays."""

import asyncio
from collections.abc import Callable, Sequence

from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.models import Served, load, warm_up
from deepspeech_training.serving.sources import ModelSource


class Reloader:
    """Looks at the files of the models every few seconds. Streams that are open keep the model that they began with.

    Args:
        find: the models that are to be served; raises UserError where there are none.
        loaded: those that are served already.
        every_s: 0: never.
        num_threads: as `models.load` has it.

    Attributes:
        faults: why the model of a name, as it lies there now, is not served.
    """

    def __init__(
        self,
        engine: Engine,
        find: Callable[[], Sequence[ModelSource]],
        console: Console,
        *,
        loaded: Sequence[ModelSource] = (),
        every_s: float,
        num_threads: int,
    ):
        self._engine, self._console = engine, console
        self._find = find
        self._every_s, self._num_threads = every_s, num_threads
        self._loaded = {source.name: source.signature() for source in loaded}
        self._seen: dict[str, tuple] = {}
        self._in_vain = 0  # how often in a row `find` has failed
        self.faults: dict[str, str] = {}

    async def run(self) -> None:
        """Look for ever."""
        while self._every_s > 0:
            await asyncio.sleep(self._every_s)
            await self.look()

    async def look(self) -> None:
        """Load what has changed and then stayed the same for one look: a file may still be written."""
        try:
            sources = await asyncio.to_thread(self._find)
        except (UserError, OSError) as error:
            self._in_vain += 1
            if self._in_vain == 2 and self._engine.models:  # not of a folder that is only just being replaced
                self._console.warn(f"The models cannot be looked for; those that are served stay:\n{error}")
            return
        self._in_vain = 0
        for source in sources:
            signature = source.signature()
            settled = self._seen.get(source.name) == signature
            self._seen[source.name] = signature
            if settled and signature not in ((), self._loaded.get(source.name)):
                self._loaded[source.name] = signature  # not tried again, broken or not, before it changes
                await self._take(source)

    async def _take(self, source: ModelSource) -> None:
        is_new = source.name not in self._engine.models
        try:
            served = await asyncio.to_thread(self._load, source)
        except UserError as error:
            self.faults[source.name] = str(error)
            self._engine.metrics.reloads.labels("refused").inc()
            what = "cannot be used" if is_new else "has changed and cannot be used; the one before stays"
            self._console.error(f"Model {source.name} {what}:\n{error}")
            return
        self.faults.pop(source.name, None)
        self._engine.models[source.name] = served
        self._engine.metrics.reloads.labels("live").inc()
        what = "is live" if is_new else "has changed: the new one is live"
        self._console.info(f"Model {source.name} {what}, sha256 {served.facts['sha256'][:12]}")

    def _load(self, source: ModelSource) -> Served:
        with without_delegate_notice():
            (served,) = load([source], num_threads=self._num_threads)
        warm_up(served)
        return served
