"""Waking the readers of the journal when something was appended, without asking the database all the time."""

import logging
import threading
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import URL

from allocation.adapters.journal import CHANNEL

logger = logging.getLogger(__name__)

RECONNECT_INTERVAL_S = 1.0
STOP_CHECK_INTERVAL_S = 0.25


class Waker:
    """Lets any number of threads wait for the next call of `wake`, or for a time at most."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls = 0

    @property
    def calls(self) -> int:
        """How often `wake` was called: to be read before looking for work, and handed to `wait` after it."""
        return self._calls

    def wake(self) -> None:
        """Let every waiting thread go on."""
        with self._condition:
            self._calls += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> None:
        """Return as soon as `wake` has been called more than `seen` times, or after `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._calls > seen, timeout)


class JournalListener:
    """While its context is open, calls `waker.wake()` at every commit that appended to the journal.

    It reconnects when it has to. Where NOTIFY does not get through (a pooler, an outage), the readers' own
    poll takes over.
    """

    def __init__(self, url: URL, waker: Waker) -> None:
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._waker = waker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.OperationalError as error:
                logger.warning("not listening to the journal, polling it instead: %s", error)
                self._stopping.wait(RECONNECT_INTERVAL_S)

    def _listen(self) -> None:
        with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=3) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._waker.wake()
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=STOP_CHECK_INTERVAL_S):
                    self._waker.wake()
