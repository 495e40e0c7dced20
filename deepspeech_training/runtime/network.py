"""The network of an exported model on LiteRT: windows of features and the state of a stream -> probabilities."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np

from deepspeech_training.console import stderr_without
from deepspeech_training.runtime.model_file import ModelError, ModelFile

State = Sequence[np.ndarray]  # of a stream, in the order of `ModelFile.state_shapes`


def without_delegate_notice() -> AbstractContextManager[None]:
    """Keep LiteRT's "Created ... delegate" off stderr while a model is loaded; for the commands alone."""
    return stderr_without("XNNPACK delegate")


class Networks:
    """Interpreters of one model, each used by one thread at a time: LiteRT's are not thread-safe.

    The state of a stream goes in and out at each call, so any interpreter serves any stream.

    Args:
        limit: how many there may be at most; calls beyond them take turns.
    Raises:
        ModelError: LiteRT cannot run the model, or it computes no probabilities.
    """

    def __init__(self, file: ModelFile, *, limit: int):
        self.file = file
        self._limit = limit
        self._idle: queue.LifoQueue[_Interpreter] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._count = 1
        self._idle.put(_Interpreter(file))

    def __call__(self, windows: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Run one call of the network.

        Args:
            windows: float32 [1, n_steps, window_frames, n_mfcc].
            state: what the call before gave; at the start `initial_state`.
        Returns:
            Probabilities float32 [n_steps / stride, classes], and the new state.
        """
        interpreter = self._take()
        try:
            return interpreter(windows, state)
        finally:
            self._idle.put(interpreter)

    def _take(self) -> "_Interpreter":
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                may_grow = self._count < self._limit
                self._count += may_grow
            if not may_grow:
                return self._idle.get()
        try:
            return _Interpreter(self.file)
        except BaseException:
            with self._lock:
                self._count -= 1
            raise


class _Interpreter:
    """One LiteRT interpreter on one core. The feature operators run along with `input_samples` left at zero."""

    def __init__(self, file: ModelFile):
        # Imported here: it takes 0.1 s, and the module must be importable where a file is only checked.
        from ai_edge_litert.interpreter import Interpreter

        try:
            # With XNNPACK, LiteRT's default: twice as fast at n_hidden 2048, for more memory (docs/inference.md).
            self._interpreter = Interpreter(model_content=file.data, num_threads=1)
            self._interpreter.allocate_tensors()
            inputs = {tensor["name"]: tensor["index"] for tensor in self._interpreter.get_input_details()}
            outputs = {tensor["name"]: tensor["index"] for tensor in self._interpreter.get_output_details()}
            self._interpreter.set_tensor(inputs["input_samples"], np.zeros(file.geometry.window_samples, np.float32))
            self._inputs = [
                inputs[name] for name in ("input_node", *(f"previous_{name}" for name in file.state_shapes))
            ]
            self._outputs = [outputs[name] for name in ("logits", *(f"new_{name}" for name in file.state_shapes))]
            # One call before the first clip: a graph that cannot run is found out when it is loaded.
            windows = np.zeros((1, file.n_steps, file.window_frames, file.geometry.n_mfcc), np.float32)
            probs, state = self(windows, initial_state(file))
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{file.path}: LiteRT cannot run the model: {error}") from error
        shapes = [(file.n_steps // file.stride, file.num_classes), *file.state_shapes.values()]
        if [values.shape for values in (probs, *state)] != shapes:
            raise ModelError(f"{file.path}: the model computes tensors of other shapes than it says")
        if not all(np.isfinite(values).all() for values in (probs, *state)) or abs(probs.sum(axis=-1) - 1).max() > 1e-3:
            raise ModelError(f"{file.path}: the model computes no probabilities; its weights are damaged")

    def __call__(self, windows: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        for index, value in zip(self._inputs, (windows, *state), strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        probs, *new_state = (self._interpreter.get_tensor(index) for index in self._outputs)  # copies
        return probs, new_state


def initial_state(file: ModelFile) -> State:
    """The state at the start of a stream, zeros as in the clients."""
    return [np.zeros(shape, np.float32) for shape in file.state_shapes.values()]


class FrameStream:
    """Frames of features, as they come -> probabilities, as the network gives them.

    Each frame goes in with its neighbours on either side; before the first and after the last one there are zeros.
    The network always runs on the same frames together, wherever they are cut, so that the last bit is the same.

    Args:
        networks: run the network.
        feed: is given the probabilities of each call, float32 [frames, classes].
    """

    def __init__(self, networks: Networks, feed: Callable[[np.ndarray], None]):
        self._networks, self._feed = networks, feed
        file = networks.file
        self._file = file
        self._state = initial_state(file)
        # Row i: the frames of the i-th window. To index with it is several times as fast as numpy's sliding windows.
        self._windows = np.arange(file.n_steps)[:, None] + np.arange(file.window_frames)
        # The frames that the next call of the network sees; `_held` are there.
        self._frames = np.zeros((file.n_steps + file.window_frames - 1, file.geometry.n_mfcc), np.float32)
        self._held = file.window_frames // 2

    @property
    def wanted(self) -> int:
        """How many frames the next call of the network lacks."""
        return len(self._frames) - self._held

    def feed_frames(self, frames: np.ndarray) -> None:
        """Take further frames, float32 [frames, n_mfcc]."""
        while len(frames):
            taken = frames[: self.wanted]
            self._frames[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            frames = frames[len(taken) :]
            if not self.wanted:
                self._call(self._file.n_steps)

    def finish(self) -> None:
        """Give what is left: the neighbours after the last frame are zeros."""
        left = self._held - self._file.window_frames // 2  # frames without an output
        while left > 0:
            self._frames[self._held :] = 0
            self._call(min(left, self._file.n_steps))
            left -= self._file.n_steps

    def _call(self, num_frames: int) -> None:
        """Run the network on the frames held, of whose steps `num_frames` count, and keep what the next call needs."""
        probs, self._state = self._networks(self._frames[self._windows][None], self._state)
        self._feed(probs[: -(-num_frames // self._file.stride)])
        self._held = self._file.window_frames - 1
        self._frames[: self._held] = self._frames[self._file.n_steps :]
