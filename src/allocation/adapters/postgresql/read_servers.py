"""The servers that reads may be asked of: the primary and, where there is one, a streaming standby."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from allocation.adapters.journal.checkpoint_watch import CheckpointWatch

# Far fewer than the threads of an API process: who waits must not keep out who does not.
MAX_WAITING = 32
MAX_FALL_BACKS = 8
# A replica that has failed is left alone for so long; then one read at a time tries it again.
REPLICA_PAUSE_S = 1.0


class TooManyWaiting(Exception):
    """Too many reads wait for their view already: this one was not taken in."""


class TooManyFallBacks(Exception):
    """Too many reads that the replica could not answer are at the primary already."""


class ReadServer(Protocol):
    """One server that answers reads, each from one snapshot."""

    @property
    def checkpoints(self) -> CheckpointWatch:
        """Lets readers wait for its projections."""

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        """The rows of a SELECT, which is prepared. Raises StorageUnavailable."""

    def fetch_values(self, query: str, parameter: str) -> list[bytes | None]:
        """The first row of a prepared SELECT for `$1`, as PostgreSQL writes it; nothing without a row.

        Raises StorageUnavailable.
        """


class ReadObserver(Protocol):
    """Who wants to know how reads are doing."""

    def fell_back(self, reason: str) -> None:
        """A read goes to the primary, because the replica is `away`, `late` or `paused`."""


class Slots:
    """At most so many at once; there is no waiting for a free one."""

    def __init__(self, number: int, refusal: Callable[[str], Exception]) -> None:
        self._number = number
        self._refusal = refusal
        self._free = threading.Semaphore(number)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of the slots; raises the refusal when there is none."""
        if not self._free.acquire(blocking=False):
            raise self._refusal(f"{self._number} at once are too many already")
        try:
            yield
        finally:
            self._free.release()


class ReadServers:
    """Which servers there are, and how many readers of this process may wait, or fall back to the primary."""

    def __init__(self, primary: ReadServer, replica: ReadServer | None = None) -> None:
        self.primary = primary
        self.replica = replica
        self.waiting = Slots(MAX_WAITING, TooManyWaiting)
        self.falling_back = Slots(MAX_FALL_BACKS, TooManyFallBacks)
        self._observer: ReadObserver | None = None
        self._lock = threading.Lock()
        self._failed = False
        self._next_try = 0.0

    def observe(self, observer: ReadObserver) -> None:
        """Tell `observer` from now on."""
        self._observer = observer

    def fell_back(self, reason: str) -> None:
        """A read goes to the primary."""
        if self._observer is not None:
            self._observer.fell_back(reason)

    def usable_replica(self) -> ReadServer | None:
        """The replica, unless there is none or it is left alone for a while."""
        with self._lock:
            now = time.monotonic()
            if self._failed and now < self._next_try:
                return None
            # While one tries whether it is back, the others go on without it.
            self._next_try = now + REPLICA_PAUSE_S
            return self.replica

    def replica_answered(self) -> None:
        """The replica is well."""
        self._failed = False

    def replica_failed(self) -> None:
        """Leave the replica alone for a while."""
        with self._lock:
            self._failed = True
            self._next_try = time.monotonic() + REPLICA_PAUSE_S
