"""Whether writes succeed, as far as this process can tell."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from allocation.adapters.postgresql.database_errors import Locked, StorageUnavailable

# How long a failure counts: once a load balancer sends no more writes, only time can end the state.
REMEMBERED_S = 5.0

WriteState: TypeAlias = Literal["ok", "read-only", "failing"]


class LastWrite:
    """The outcome of the last write: nothing else would reveal a full disk, for instance."""

    def __init__(self) -> None:
        self._failed_at: float | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the outcome of the write within the context."""
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
        """Whether it failed recently because the database was away or could not store it."""
        return self._failed_at is not None and time.monotonic() - self._failed_at < REMEMBERED_S
