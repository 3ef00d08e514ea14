"""What waits for the write model: commands in fair turn, and the answers that their callers wait for."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

M = TypeVar("M")

Outcome: TypeAlias = Any


class Answer:
    """What a caller waits for; a Future costs several times as much.

    Each lock is taken once for good: the one by whoever is first, the writer or a caller who gives up, the
    other until there is an outcome.
    """

    __slots__ = ("_begun", "_claimed", "_outcome", "_outstanding")

    def __init__(self) -> None:
        self._claimed = threading.Lock()
        self._begun = False
        self._outstanding = threading.Lock()
        self._outstanding.acquire()

    def begin(self) -> bool:
        """Whether the caller still waits; from now on, it can't give up any more."""
        self._begun = self._begun or self._claimed.acquire(blocking=False)
        return self._begun

    def give_up(self) -> bool:
        """Whether the command is not begun yet; from now on, it never will be."""
        return self._claimed.acquire(blocking=False)

    def give(self, outcome: Outcome) -> None:
        """Let the caller have the result, or raise the refusal there."""
        self._outcome = outcome
        self._outstanding.release()

    def result(self, timeout_s: float = -1) -> Outcome:
        """The result, as soon as there is one. Raises the refusal, or TimeoutError."""
        if not self._outstanding.acquire(timeout=timeout_s):
            raise TimeoutError
        self._outstanding.release()
        if not isinstance(self._outcome, Exception):
            return self._outcome
        try:
            raise self._outcome
        finally:
            # Its trace leads here: both would only be found by the garbage collector.
            del self


@dataclass(eq=False, slots=True)
class Pending(Generic[M]):
    """A command that waits, and the answer that its caller waits for."""

    key: str
    message: M
    answer: Answer = field(default_factory=Answer)
    arrived_at: float = field(default_factory=time.monotonic)
    found_locked_at: float | None = None

    def waited_for_lock_s(self, now: float) -> float:
        """For how long this command is known to wait for somebody's lock: from when it is first asked."""
        if self.found_locked_at is None:
            self.found_locked_at = now
        return now - self.found_locked_at


class FairQueue(Generic[M]):
    """First come, first served within a key; between keys, each in its turn.

    However many wait for one key, somebody who asks for another is in the next batch.
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[Pending[M]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, pending: Pending[M]) -> None:
        """Take in a command, behind all others of its key."""
        self._lanes.setdefault(pending.key, deque()).append(pending)
        self._length += 1

    def put_back(self, taken: Sequence[Pending[M]]) -> None:
        """Take in commands again, before all others, in the order in which they were taken."""
        for pending in reversed(taken):
            self._lanes.setdefault(pending.key, deque()).appendleft(pending)
            self._lanes.move_to_end(pending.key, last=False)
        self._length += len(taken)

    def take_all(self, key: str) -> Sequence[Pending[M]]:
        """All commands of this key, in order."""
        taken = self._lanes.pop(key, ())
        self._length -= len(taken)
        return taken

    def take(self, limit: int) -> list[Pending[M]]:
        """At most `limit` commands, one of each key in turn."""
        taken: list[Pending[M]] = []
        while self._lanes and len(taken) < limit:
            key, lane = self._lanes.popitem(last=False)
            taken.append(lane.popleft())
            if lane:
                self._lanes[key] = lane
        self._length -= len(taken)
        return taken
