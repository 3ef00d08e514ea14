"""The servers that answer reads: the primary and, if configured, a streaming standby."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from pydantic_core import to_json

from allocation.adapters.journal.checkpoint_watch import CheckpointWatch
from allocation.adapters.postgresql.fetching import RawRow, Row
from allocation.domain.errors import AllocationError

# Far fewer than the threads of an API process: reads that wait must not block those that need not.
MAX_WAITING = 32
MAX_FALL_BACKS = 8
# How long a failed replica is left alone; then one read at a time tries it again.
REPLICA_PAUSE_S = 1.0


class TooManyWaiting(AllocationError):
    """Too many reads are already waiting for their view: this one was refused."""


class TooManyFallBacks(AllocationError):
    """The primary is already answering too many reads in place of the replica."""


class ReadServer(Protocol):
    """One server that answers reads, each from one snapshot; its methods suspend, or block, their caller."""

    async def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a prepared SELECT. Raises StorageUnavailable."""

    async def look_up(self, query: str, key: Mapping[str, object]) -> RawRow:
        """The row for one key, as raw text; empty without one.

        The parameter `$1` of the query is a JSON array of keys, each an object: it gives a row for each, in
        their order, or none at all. So what several callers ask can be one statement. Raises
        StorageUnavailable.
        """

    async def reached(self, projection: str, position: int, deadline: float) -> None:
        """Return once it is worth asking the view again, as `CheckpointWatch.wait` does."""

    async def pause(self, seconds: float) -> None:
        """Let this time pass."""


class Lookable(Protocol):
    """A server whose callers wait with their threads."""

    @property
    def checkpoints(self) -> CheckpointWatch:
        """Lets reads wait for the server's projections."""

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a prepared SELECT. Raises StorageUnavailable."""

    def fetch_values(self, query: str, parameter: str) -> RawRow:
        """The first row of a prepared SELECT with the parameter `$1`, as raw text; empty without a row.

        Raises StorageUnavailable.
        """


class BlockingReadServer:
    """A read server whose methods block."""

    def __init__(self, server: Lookable) -> None:
        self._server = server

    async def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a prepared SELECT. Raises StorageUnavailable."""
        return self._server.fetch(query, parameters)

    async def look_up(self, query: str, key: Mapping[str, object]) -> RawRow:
        """The row for one key, as raw text; empty without one. Raises StorageUnavailable."""
        return self._server.fetch_values(query, keys_document([key]))

    async def reached(self, projection: str, position: int, deadline: float) -> None:
        """Return once it is worth asking the view again."""
        self._server.checkpoints.wait(projection, position, deadline)

    async def pause(self, seconds: float) -> None:
        """Let this time pass."""
        time.sleep(seconds)


def keys_document(keys: Sequence[Mapping[str, object]]) -> str:
    """The keys of a look-up as its parameter."""
    return to_json(keys).decode()


class ReadObserver(Protocol):
    """Is told when reads fall back, for metrics."""

    def fell_back(self, reason: str) -> None:
        """A read goes to the primary because the replica is `away`, `late` or `paused`."""


class Slots:
    """A limited number of slots; when all are taken, the next one is refused at once."""

    def __init__(self, number: int, refusal: Callable[[str], Exception]) -> None:
        self._number = number
        self._refusal = refusal
        self._free = threading.Semaphore(number)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one of the slots within the context. Raises the refusal if none is free."""
        if not self._free.acquire(blocking=False):
            raise self._refusal(f"{self._number} at once are too many already")
        try:
            yield
        finally:
            self._free.release()


class ReadServers:
    """The servers, and how many reads of this process may wait or fall back to the primary at a time."""

    def __init__(
        self,
        primary: ReadServer,
        replica: ReadServer | None = None,
        *,
        max_waiting: int = MAX_WAITING,
        max_fall_backs: int = MAX_FALL_BACKS,
    ) -> None:
        self.primary = primary
        self.replica = replica
        self.waiting = Slots(max_waiting, TooManyWaiting)
        self.falling_back = Slots(max_fall_backs, TooManyFallBacks)
        self._observer: ReadObserver | None = None
        self._lock = threading.Lock()
        self._failed = False
        self._next_try = 0.0

    def observe(self, observer: ReadObserver) -> None:
        """Report fall-backs to `observer` from now on."""
        self._observer = observer

    def fell_back(self, reason: str) -> None:
        """Report that a read goes to the primary."""
        if self._observer is not None:
            self._observer.fell_back(reason)

    def usable_replica(self) -> ReadServer | None:
        """The replica; None without one, or while it is left alone after a failure."""
        with self._lock:
            now = time.monotonic()
            if self._failed and now < self._next_try:
                return None
            # While one read tries whether it is back, the others go on without it.
            self._next_try = now + REPLICA_PAUSE_S
            return self.replica

    def replica_answered(self) -> None:
        """Note that the replica works."""
        self._failed = False

    def replica_failed(self) -> None:
        """Leave the replica alone for a while."""
        with self._lock:
            self._failed = True
            self._next_try = time.monotonic() + REPLICA_PAUSE_S
