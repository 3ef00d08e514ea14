"""The queue of commands, which take turns by key, and the answers that their callers wait for."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

M = TypeVar("M")

Promised: TypeAlias = Any


class Promise:
    """The answer to a command, which its caller waits for; a Future would cost several times as much.

    Neither lock is ever released by its first taker: one belongs to whoever comes first, the writer or a
    caller that gives up; the other is held until there is an outcome.
    """

    __slots__ = ("_begun", "_claimed", "_outcome", "_outstanding")

    def __init__(self) -> None:
        self._claimed = threading.Lock()
        self._begun = False
        self._outstanding = threading.Lock()
        self._outstanding.acquire()

    def begin(self) -> bool:
        """Begin the command, unless the caller has given up; return whether. It can't give up afterwards."""
        self._begun = self._begun or self._claimed.acquire(blocking=False)
        return self._begun

    def give_up(self) -> bool:
        """Cancel the command, unless it has begun; return whether."""
        return self._claimed.acquire(blocking=False)

    def give(self, outcome: Promised) -> None:
        """Hand the caller the result, or the refusal to raise."""
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


@dataclass(eq=False, slots=True)
class Pending(Generic[M]):
    """A waiting command, the answer that its caller waits for, and since when it is known to need a lock."""

    key: str
    message: M
    answer: Promise = field(default_factory=Promise)
    arrived_at: float = field(default_factory=time.monotonic)
    found_locked_at: float | None = None


class FairQueue(Generic[M]):
    """First come, first served within a key; keys take turns.

    However many commands wait for one key, a command for another key is in the next batch.
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[Pending[M]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, pending: Pending[M]) -> None:
        """Add a command, after all others of its key."""
        self._lanes.setdefault(pending.key, deque()).append(pending)
        self._length += 1

    def put_back(self, taken: Sequence[Pending[M]]) -> None:
        """Put commands back before all others, in the order in which they were taken."""
        for pending in reversed(taken):
            self._lanes.setdefault(pending.key, deque()).appendleft(pending)
            self._lanes.move_to_end(pending.key, last=False)
        self._length += len(taken)

    def take_all(self, key: str) -> Sequence[Pending[M]]:
        """Take all commands of this key, in order."""
        taken = self._lanes.pop(key, ())
        self._length -= len(taken)
        return taken

    def take(self, limit: int) -> list[Pending[M]]:
        """Take at most `limit` commands, one of each key in turn."""
        taken: list[Pending[M]] = []
        while self._lanes and len(taken) < limit:
            key, lane = self._lanes.popitem(last=False)
            taken.append(lane.popleft())
            if lane:
                self._lanes[key] = lane
        self._length -= len(taken)
        return taken
