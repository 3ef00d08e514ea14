"""Whether writes go through, as far as this process has seen."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from allocation.adapters.postgresql.database_errors import Locked, StorageUnavailable

# Once nobody writes any more, as a balancer has taken the process out, a failure tells nothing after so long.
REMEMBERED_S = 5.0

WriteState: TypeAlias = Literal["ok", "read-only", "failing"]


class LastWrite:
    """What came of the write that ended last: a full disk, say, is noticed by nothing else."""

    def __init__(self) -> None:
        self._failed_at: float | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A write."""
        try:
            yield
        except Locked:
            raise
        except StorageUnavailable:
            self._failed_at = time.monotonic()
            raise
        self._failed_at = None

    @property
    def has_failed(self) -> bool:
        """Whether it failed, lately, because the database was away or could not store it."""
        return self._failed_at is not None and time.monotonic() - self._failed_at < REMEMBERED_S
