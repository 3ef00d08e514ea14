"""Waking the readers of the journal when events were appended, without polling the database all the time."""

import logging
import threading
import time
from types import TracebackType
from typing import Self

import psycopg

from allocation.adapters.journal.journal import CHANNEL
from allocation.adapters.patience import Patience
from allocation.adapters.postgresql.bounded_connection import bounded_by
from allocation.adapters.postgresql.sessions import Sessions

logger = logging.getLogger(__name__)

STOP_CHECK_INTERVAL_S = 0.25
# Whoever was woken is at work for longer than this: commits that follow closely need wake nobody.
REST_S = 0.02
# How often to check that the server is still there, and how long to wait for its answer.
ASKING_INTERVAL_S = 5.0
ANSWER_LIMIT_S = 5.0


class Waker:
    """Lets any number of threads wait for the next call of `wake`, with a timeout."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls = 0

    @property
    def calls(self) -> int:
        """The number of calls of `wake`: read it before looking for work, and pass it to `wait` after."""
        return self._calls

    def wake(self) -> None:
        """Wake every waiting thread."""
        with self._condition:
            self._calls += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> None:
        """Return as soon as `wake` has been called more than `seen` times, or after `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._calls > seen, timeout)


class JournalListener:
    """While its context is open, calls `waker.wake()` at every commit that has appended to the journal.

    It reconnects after any failure. Where NOTIFY does not arrive (through a pooler, in an outage), the
    readers still poll.
    """

    def __init__(self, sessions: Sessions, waker: Waker) -> None:
        self._sessions = sessions
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
        patience = Patience("listening to the journal, which is polled meanwhile,", logger)
        while not self._stopping.is_set():
            try:
                self._listen(patience)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._stopping.wait(patience.pause_after(error, expected=isinstance(error, psycopg.Error)))

    def _listen(self, patience: Patience) -> None:
        with self._sessions.listen(CHANNEL, bounded_by(ANSWER_LIMIT_S)) as connection:
            patience.all_is_well()
            self._waker.wake()
            asked_at = time.monotonic()
            while not self._stopping.is_set():
                if list(connection.notifies(timeout=STOP_CHECK_INTERVAL_S, stop_after=1)):
                    self._waker.wake()
                    self._stopping.wait(REST_S)
                if time.monotonic() > asked_at + ASKING_INTERVAL_S:
                    # Nothing else distinguishes a host that has gone silent from a journal that does not
                    # grow.
                    connection.execute("SELECT 1")
                    asked_at = time.monotonic()
