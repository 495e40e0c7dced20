"""The states of the app: what lies on the volume decides what is done next, so that a kill at any moment loses nothing.

    a model on the volume   -> serving
    data, no model          -> checking -> training -> testing -> exporting -> registering -> serving
    neither                 -> waiting, and looking again

No state is kept in a file of its own: a training is finished where its checkpoint says so, an export is done where it
names that checkpoint.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.app.child import Child
from deepspeech_training.app.failures import Failures
from deepspeech_training.app.order import Order, find_order
from deepspeech_training.app.shelf import SO_FAR_DIR, Shelf, is_export_of
from deepspeech_training.app.status import Failure, Phase, Status
from deepspeech_training.app.volume import FLAGFILE, Volume, VolumeLock
from deepspeech_training.checkpoints.folder import CheckpointFolder, best_or_last, state_files
from deepspeech_training.config.private import variable_of, variables_of
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, UserError
from deepspeech_training.reporting.outside.wanted import FAILURES_ARE_TOLD
from deepspeech_training.serving.server import Stop, background

EXPORT_DIR = "export"
TICK_S = 0.05
STOPPED = (129, 130, 143)  # a training that has saved
PAUSED_IN = ("checking", "training", "testing", "exporting")


@dataclass(frozen=True)
class Wishes:
    """What `deepspeech app` is told besides what `deepspeech serve` is.

    Args:
        name: of the model that is trained.
        look_s: seconds from one look at the volume to the next.
        stop_s: a training that is told to end has this long to save.
        notify: URLs that get a message when a step fails; a training has its own.
    """

    name: str
    retrain: bool = False
    train_only: bool = False
    serve_only: bool = False
    serve_while_training: bool = False
    exit_on_failure: bool = False
    look_s: float = 2.0
    stop_s: float = 100.0
    notify: tuple[str, ...] = ()


class Supervisor:
    """Works until it is stopped, or until --train_only or --exit_on_failure end it.

    Args:
        served: names of the models that are loaded.
        faults: why models that lie there are not.
    """

    def __init__(
        self,
        volume: Volume,
        shelf: Shelf,
        wishes: Wishes,
        status: Status,
        *,
        served: Callable[[], Collection[str]],
        faults: Callable[[], Mapping[str, str]],
        environment: Mapping[str, str],
        console: Console,
    ):
        self._volume, self._shelf, self._wishes, self._status = volume, shelf, wishes, status
        self._served, self._faults = served, faults
        self._environment, self._console = environment, console
        self._lock = VolumeLock(volume)
        self._child, self._side = Child(console), Child(console)  # the current step; exports of the best so far
        self._stopping = False
        self._paused = self._asked = False  # by a person, who stops a training or wants one
        self._wake = asyncio.Event()
        self._signature = ""  # of the volume, at the last look
        self._read_at = ""  # the signature for which `status.order` was made
        self._failures = Failures(wishes.name, console)
        self._done = ""  # the fingerprint of the order that was carried out

    async def run(self) -> int:
        """Look, do what is to be done, and look again; returns the exit code."""
        while not self._stopping:
            try:
                exit_code = await self._round()
            except _Stopped:
                if self._stopping:
                    break
                exit_code = None
                self._say_paused()
            except _Failed as failed:
                exit_code = self._fail(
                    failed.message, failed.exit_code, is_shown=failed.is_shown, is_told=failed.is_told
                )
            except UserError as error:
                exit_code = self._fail(str(error), error.exit_code)
            except OSError as error:  # such as a folder of another user, or a disk that fails
                exit_code = self._fail(_disk_fault(error, self._volume.root), EXIT_RUN)
            if exit_code is not None:
                await self._failures.notified()
                return exit_code
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._wishes.look_s)
            self._wake.clear()
        return EXIT_OK

    @property
    def can_train(self) -> bool:
        """Whether this app trains at all."""
        return not self._wishes.serve_only and self._shelf.named is None

    @property
    def is_paused(self) -> bool:
        return self._paused

    def train(self) -> None:
        """Train on what is new, although there is a model; resume where `pause` has stopped."""
        self._paused, self._asked, self._status.failure = False, True, None
        self._wake.set()

    def pause(self) -> bool:
        """Let the training save, and end it until `train` is called; whether there was one that can be stopped."""
        if self._paused or self._status.phase not in PAUSED_IN or not self._child.runs:
            return False
        self._paused, self._asked = True, False
        self._child.signal(signal.SIGTERM)
        return True

    def look_now(self) -> None:
        """Something has changed that a look would find."""
        self._wake.set()

    async def stop(self, stop: Stop) -> None:
        """Let the training save, and end it; at a second signal, or when it takes too long, without saving."""
        self._stopping = True
        children = [child for child in (self._side, self._child) if child.runs]
        for child in children:
            child.signal(signal.SIGTERM)
        if children:
            self._console.info(
                f"Ending: {self._status.phase} is given up to {self._wishes.stop_s:g} s to save (--stop_s)"
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wishes.stop_s):
                while any(child.runs for child in children) and not stop.in_a_hurry:
                    await asyncio.sleep(TICK_S)
        for child in children:
            child.signal(signal.SIGKILL)

    # --- one look ----------------------------------------------------------------------------------------------------

    async def _round(self) -> int | None:
        wishes, asked = self._wishes, self._asked
        finished = await asyncio.to_thread(self._shelf.finished)
        if self._paused:
            self._say_paused()
            return None
        if wishes.serve_only or (finished and not wishes.retrain and not wishes.train_only and not asked):
            return self._say_what_is_served(finished)
        signature = await asyncio.to_thread(self._volume.signature)
        settled, self._signature = signature == self._signature, signature
        if not settled:
            return None  # files may still be arriving
        failure = self._status.failure
        if failure is not None and failure.signature == signature and time.time() < failure.again_at:
            return None
        order = await self._order(signature)
        if asked and (order is None or order.fingerprint == self._done):
            self._asked = False
        if order is None:
            return self._say_what_is_served(finished)
        if order.fingerprint == self._done:
            if wishes.train_only:
                self._console.info(f"The model {order.name} is there (--train_only)")
                return EXIT_OK
            return self._say_what_is_served(finished)
        if not await asyncio.to_thread(self._lock.take):
            self._now("waiting", f"another app trains on {self._volume.root}; its model is served when it is there")
            return None
        try:
            await self._carry_out(order)
        finally:
            self._lock.release()
        return None

    def _say_paused(self) -> None:
        self._now(
            "serving" if self._served() else "waiting",
            "the training was stopped in the studio; it resumes from there, or when the app is started again",
        )

    def _say_what_is_served(self, finished: Sequence[object]) -> int | None:
        """A model is served, loaded or broken; or there is none."""
        fault = next(iter(self._faults().values()), "")
        if self._served():
            self._now("serving", "a model is served")
        elif fault:
            if self._status.failure is None or self._status.failure.message != fault:  # it is tried at each look
                return self._fail(fault, EXIT_RUN)
        elif finished:
            self._now("checking", "loading a model")
        elif self._wishes.serve_only:
            self._now(
                "waiting", f"waiting for a model below {self._volume.models} or {self._volume.exports} (--serve_only)"
            )
        else:
            self._now(
                "waiting",
                f"waiting for a model or for data: put train.csv, or recordings with transcripts, below "
                f"{self._volume.corpora}; or flags into {self._volume.root / FLAGFILE}; or name a model (--model)",
            )
        return None

    async def _order(self, signature: str) -> Order | None:
        """What the volume wants to be trained; read again only when something has changed."""
        if signature != self._read_at:
            arguments = (self._volume, self._environment, self._wishes.name, self._console)
            self._status.order = await in_the_background(find_order, *arguments)
            for line in self._status.order.says if self._status.order else ():
                self._console.info(line)
            self._read_at = signature
        return self._status.order

    # --- the steps ---------------------------------------------------------------------------------------------------

    async def _carry_out(self, order: Order) -> None:
        """All steps of a training that are not done yet.

        Raises:
            _Failed: one of them has.
            UserError: the volume cannot be written.
        """
        export_dir = Path(order.export_dir) if order.export_dir else order.folder / EXPORT_DIR
        run = self._status.follow(order.folder)
        if not (order.owns_folder and self._is_trained(order)):
            self._now("checking", f"checking flags and data of {order.folder.name}")
            async with background(self._watch(order)):
                await self._step(order.train, self._variables(order), less_memory=order.less_memory)
        await asyncio.to_thread(run.read)
        checkpoint = best_or_last(order.folder)
        if checkpoint is None:
            raise UserError(f"{order.folder}: the training has left no checkpoint")
        if not is_export_of(export_dir, checkpoint):
            if order.test_files:
                self._now("testing", f"testing {checkpoint.stem}")
                await self._step(order.test, self._variables(order), less_memory="lower --test_batch_size")
            self._now("exporting", f"exporting {checkpoint.stem}")
            await self._step(order.export(export_dir))
        self._now("registering", f"registering {order.name}")
        await self._step(order.register(export_dir, self._volume.models))
        self._shelf.so_far = None
        self._status.so_far = ""
        self._done = order.fingerprint
        self._failures.forget()

    def _is_trained(self, order: Order) -> bool:
        """Whether the last checkpoint says that its training is over."""
        found = CheckpointFolder(order.folder, self._console).read_description("train")
        return found is not None and found[1].progress.stopped is not None

    def _variables(self, order: Order) -> Mapping[str, str]:
        """Whom a training tells: those that its flags name, else those that the app is told; of failures we tell."""
        return {**self._of_wishes, **order.variables, FAILURES_ARE_TOLD: "yes"}

    @property
    def _of_wishes(self) -> dict[str, str]:
        return variables_of({"notify": self._wishes.notify} if self._wishes.notify else {})

    async def _step(
        self, words: Sequence[str], variables: Mapping[str, str] | None = None, *, less_memory: str = ""
    ) -> None:
        """Run a command to its end.

        Args:
            less_memory: what to do where it takes too much.
        Raises:
            _Failed: it has not done its work.
            _Stopped: the app is to end, or the training is paused.
        """
        if self._stopping or self._paused:
            raise _Stopped
        ended = await self._child.run(words, keep_open=self._lock.fileno(), variables=variables)
        if ended.code == 0:
            return
        if self._stopping or self._paused:
            raise _Stopped
        if ended.code in STOPPED:
            raise _Failed(
                "the process was told to stop by somebody else; what it has saved is kept",
                ended.code,
                is_told=words[0] == "train",
            )
        if ended.code == -signal.SIGKILL:
            other = f", or {less_memory}" if less_memory else ""
            raise _Failed(f"{ended.message}\nGive the container more (MEMORY){other}.", EXIT_RUN)
        said = ended.message or f"`deepspeech {words[0]}` has ended with exit code {ended.code}; the log says more"
        raise _Failed(said, ended.code if ended.code > 0 else EXIT_RUN, is_shown=bool(ended.message))

    async def _watch(self, order: Order) -> None:
        """While a training runs: enter its phases, and export the best so far where that is wanted."""
        log, began = self._status.log, time.time()
        assert log is not None, "it is followed"
        if self._wishes.serve_while_training and any((order.folder / SO_FAR_DIR).glob("*.tflite")):
            self._serve_so_far(order, None)  # of the app before
        exported = ""
        while True:
            await asyncio.sleep(self._wishes.look_s)
            await asyncio.to_thread(log.read)
            if log.begun_at >= began and self._status.phase == "checking":
                self._now("training", f"training {order.folder.name}")
            best = next(iter(state_files(order.folder, "best")), None)
            if self._wishes.serve_while_training and best is not None and best.name != exported:
                exported = best.name
                words = order.export(order.folder / SO_FAR_DIR)
                ended = await self._side.run(words, keep_open=self._lock.fileno())
                if ended.code == 0:
                    self._serve_so_far(order, (log.progress()["best"] or {}).get("epoch"))
                else:
                    self._console.warn(f"The best checkpoint so far cannot be served: {ended.message}")

    def _serve_so_far(self, order: Order, epoch: int | None) -> None:
        of_epoch = f" of epoch {epoch}" if epoch else ""
        note = f"the best checkpoint so far{of_epoch}: the training continues"
        self._shelf.show_so_far(order.folder / SO_FAR_DIR, order.name, note, order.scorer)
        self._status.so_far = note

    # --- what is told ------------------------------------------------------------------------------------------------

    def _now(self, phase: Phase, sentence: str) -> None:
        if self._status.now(phase, sentence):
            self._console.info(sentence[0].upper() + sentence[1:])

    def _fail(self, message: str, exit_code: int, *, is_shown: bool = False, is_told: bool = False) -> int | None:
        """Say what has failed, and when it is tried again; -> the exit code where the app is to end.

        Args:
            is_shown: the step has said it on our console.
            is_told: the step has notified those of --notify itself.
        """
        phase = self._status.phase
        tried = self._failures.add(message, self._signature)
        again_at = time.time() + tried.wait_s
        self._status.now("failed", message.split("\n")[0])
        self._status.failure = Failure(message, exit_code, tried.number, again_at, self._signature)
        self._read_at = ""
        if tried.is_news and not is_shown:
            self._console.error(message)
        if tried.is_news and not is_told:
            self._failures.notify(self._urls(), f"{phase}: {message}", exit_code)
        if self._wishes.exit_on_failure:
            return exit_code
        if tried.is_news:
            self._console.info(f"It is tried again when files change, and in {tried.wait_s:.0f} s")
        return None

    def _urls(self) -> list[str]:
        """Who is notified of a failure."""
        order = self._status.order
        return (self._variables(order) if order else self._of_wishes).get(variable_of("notify"), "").split()


class _Stopped(Exception):
    """The app is to end, or the training is paused; what is done is on the volume."""


class _Failed(Exception):
    """A step has not done its work."""

    def __init__(self, message: str, exit_code: int, *, is_shown: bool = False, is_told: bool = False):
        super().__init__(message)
        self.message, self.exit_code, self.is_shown, self.is_told = message, exit_code, is_shown, is_told


def _disk_fault(error: OSError, root: Path) -> str:
    return (
        f"{error.filename or root}: {error.strerror or error}\n"
        f"The app runs as user {os.getuid()}, who must be able to read and write all below {root}.\n"
        "Give it to that user: bin/docker.sh volume own UID:GID."
    )


async def in_the_background(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that may take minutes in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result, fault = None, None
        try:
            result = function(*arguments)
        except Exception as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, fault)

    threading.Thread(target=work, name="looking at data", daemon=True).start()
    return await future
