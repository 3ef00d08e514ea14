"""Commands sent from an event loop: the answers of one transaction come back in one wake-up."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from allocation.service_layer.callers import Promise, Promised

logger = logging.getLogger(__name__)

R = TypeVar("R")


class LoopPromise(Promise):
    """An answer that a coroutine waits for."""

    __slots__ = ("_deliver", "outcome", "wake")

    def __init__(self, deliver: "Callable[[LoopPromise], None]") -> None:
        super().__init__()
        self._deliver = deliver
        self.outcome: Promised = None
        # Whoever waits at the moment.
        self.wake: asyncio.Future[bool] | None = None

    def give(self, outcome: Promised) -> None:
        self.outcome = outcome
        self._deliver(self)


class LoopCaller:
    """Waits on the loop; what blocks is run by the executor's threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, executor: Executor) -> None:
        self._loop = loop
        self._executor = executor
        self._given: deque[LoopPromise] = deque()
        self._is_due = False

    def promise(self) -> LoopPromise:
        """A promise that a coroutine can wait for."""
        return LoopPromise(self._deliver)

    async def outcome(self, promise: LoopPromise, timeout_s: float | None = None) -> Promised:
        """The result, once it is there. Raises the refusal, or TimeoutError."""
        if promise.outcome is None:
            promise.wake = self._loop.create_future()
            too_late = None if timeout_s is None else self._loop.call_later(timeout_s, _wake, promise)
            try:
                await promise.wake
            finally:
                if too_late is not None:
                    too_late.cancel()
        if promise.outcome is None:
            raise TimeoutError
        if isinstance(promise.outcome, Exception):
            raise promise.outcome
        return promise.outcome

    async def aside(self, function: Callable[[], R]) -> R:
        """What the function returns."""
        return await self._loop.run_in_executor(self._executor, function)

    def _deliver(self, promise: LoopPromise) -> None:
        """Have the caller woken, by any thread; the first of several promises wakes the loop for all."""
        self._given.append(promise)
        if self._is_due:
            return
        self._is_due = True
        try:
            self._loop.call_soon_threadsafe(self._wake_all)
        except RuntimeError:
            # The loop has ended, and with it whoever waited.
            logger.warning("a command was answered after its caller had gone")

    def _wake_all(self) -> None:
        # First of all: what is given from now on is either seen below, or wakes the loop anew.
        self._is_due = False
        while self._given:
            _wake(self._given.popleft())


def _wake(promise: LoopPromise) -> None:
    if promise.wake is not None and not promise.wake.done():
        promise.wake.set_result(True)
