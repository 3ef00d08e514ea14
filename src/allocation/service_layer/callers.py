"""How those who send commands wait for the answers: with a thread or, elsewhere, on an event loop."""

import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

R = TypeVar("R")

Promised: TypeAlias = Any


class Promise:
    """The answer to a command that its caller waits for; how is up to the subclasses.

    The lock is never released by its first taker: whoever comes first, the writer or a caller that gives up.
    """

    __slots__ = ("_begun", "_claimed")

    def __init__(self) -> None:
        self._claimed = threading.Lock()
        self._begun = False

    def begin(self) -> bool:
        """Begin the command, unless the caller has given up; return whether. It can't give up afterwards."""
        self._begun = self._begun or self._claimed.acquire(blocking=False)
        return self._begun

    def give_up(self) -> bool:
        """Cancel the command, unless it has begun; return whether."""
        return self._claimed.acquire(blocking=False)

    @abstractmethod
    def give(self, outcome: Promised) -> None:
        """Hand the caller the result, or the refusal to raise."""


class BlockingPromise(Promise):
    """An answer that a thread waits for; a Future would cost several times as much.

    The second lock is held until there is an outcome.
    """

    __slots__ = ("_outcome", "_outstanding")

    def __init__(self) -> None:
        super().__init__()
        self._outstanding = threading.Lock()
        self._outstanding.acquire()

    def give(self, outcome: Promised) -> None:
        self._outcome = outcome
        self._outstanding.release()

    def result(self, timeout_s: float = -1) -> Promised:
        """Wait for the result and return it. Raises the refusal, or TimeoutError."""
        if not self._outstanding.acquire(timeout=timeout_s):
            raise TimeoutError
        self._outstanding.release()
        if not isinstance(self._outcome, Exception):
            return self._outcome
        try:
            raise self._outcome
        finally:
            # The traceback refers to this frame: without this, only the garbage collector would free both.
            del self


P = TypeVar("P", bound=Promise)


class Caller(Protocol[P]):
    """How those who send commands wait for their answers."""

    def promise(self) -> P:
        """A promise of the kind that this caller can wait for."""

    async def outcome(self, promise: P, timeout_s: float | None = None) -> Promised:
        """The result, once it is there. Raises the refusal, or TimeoutError."""

    async def aside(self, function: Callable[[], R]) -> R:
        """What the function returns, which blocks its thread."""


class BlockingCaller:
    """Waits with the calling thread: nothing here is ever suspended."""

    def promise(self) -> BlockingPromise:
        """A promise that a thread can wait for."""
        return BlockingPromise()

    async def outcome(self, promise: BlockingPromise, timeout_s: float | None = None) -> Promised:
        """The result, once it is there. Raises the refusal, or TimeoutError."""
        return promise.result(-1 if timeout_s is None else timeout_s)

    async def aside(self, function: Callable[[], R]) -> R:
        """What the function returns."""
        return function()
