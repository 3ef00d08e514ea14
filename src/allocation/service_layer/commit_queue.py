"""The queue of commands, which take turns by key."""

import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from allocation.service_layer.callers import Promise

M = TypeVar("M")


@dataclass(eq=False, slots=True)
class Pending(Generic[M]):
    """A waiting command, the answer that its caller waits for, and since when it is known to need a lock."""

    key: str
    message: M
    answer: Promise
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

    def ahead_of(self, key: str) -> int:
        """How many commands, at most, would have their turn before a new one with this key."""
        turns = len(self._lanes.get(key, ())) + 1
        return min(self._length, turns * len(self._lanes))

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
