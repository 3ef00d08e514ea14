"""Runs the readers of the journal: at once in the caller's thread, or for good in threads of their own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from allocation.adapters.database import StorageUnavailable
from allocation.adapters.journal_listener import Waker
from allocation.projections.follower import BATCH, MAX_TRIES, PASSING_TROUBLE, AnyFollower
from allocation.projections.rebuild import Rebuilder

logger = logging.getLogger(__name__)

MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
# Under load, what is committed within this time is one batch; the first event after a pause does not wait.
PACE_S = 0.04
# Somebody else has the reader: soon no more, if it is a rebuild that takes over; for good, if it is another
# worker. Then this is how soon this one takes over when that one dies.
MIN_STANDBY_S = 0.01
MAX_STANDBY_S = 0.25


def register(followers: Sequence[AnyFollower]) -> None:
    """Make sure that every reader has a checkpoint."""
    for follower in followers:
        follower.register()


def catch_up(followers: Sequence[AnyFollower], until: int) -> None:
    """Bring every reader to position `until` at least, but for those that pause or have trouble.

    Nothing is raised: what is to be read is committed already, and a reader that stays behind reads it later.
    """
    for follower in followers:
        try:
            _catch_up(follower, until)
        except Exception:
            logger.exception("%s stays behind", follower.name)


def _catch_up(follower: AnyFollower, until: int) -> None:
    """Raises any PASSING_TROUBLE, and what is still wrong when a failing handler's event would be parked."""
    trying = Retrying(
        retry=retry_if_not_exception_type(PASSING_TROUBLE),
        wait=wait_exponential(MIN_BACKOFF_S),
        stop=stop_after_attempt(MAX_TRIES),
        before_sleep=before_sleep_log(logger, logging.WARNING, exc_info=True),
        reraise=True,
    )
    position = -1
    while position < until:
        reached = trying(follower.advance, wait=True)
        if reached is None or reached == position:
            return
        position = reached


class Projector:
    """While its context is open, keeps readers at the end of the journal; then finishes their batches.

    A reader whose handler fails tries again, and parks what it fails on; the others go on meanwhile. Read
    models that have changed are rebuilt, and rebuilds that somebody has asked for are carried on.
    """

    def __init__(
        self,
        followers: Sequence[AnyFollower],
        waker: Waker,
        *,
        poll_interval: float,
        rebuilders: Sequence[Rebuilder] = (),
    ) -> None:
        self._waker = waker
        self._poll_interval = poll_interval
        self._rebuilders = rebuilders
        self._stopping = threading.Event()
        targets: list[tuple[str, Callable[[], None]]] = [
            (each.name, partial(self._follow, each)) for each in followers
        ]
        if rebuilders:
            targets.append(("rebuilds", self._rebuild))
        self._threads = [threading.Thread(target=target, name=name) for name, target in targets]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._waker.wake()
        for thread in self._threads:
            thread.join()

    def _follow(self, follower: AnyFollower) -> None:
        patience = _Patience(follower.name, self._stopping)
        pace = _Pace(self._waker, self._stopping, self._poll_interval)
        while not self._stopping.is_set():
            pace.begin()
            try:
                reached = follower.advance(wait=False)
            except Exception as error:  # noqa: BLE001 - whatever it is, the reader tries again
                _tell(follower, error)
                patience.wait_after(error)
            else:
                patience.begin_anew()
                pace.wait_after(reached)

    def _rebuild(self) -> None:
        patience = _Patience("rebuilds", self._stopping)
        while not self._stopping.is_set():
            try:
                for each in self._rebuilders:
                    each.begin_if_changed()
                pauses = [pause for each in self._rebuilders if (pause := each.advance()) is not None]
            except PASSING_TROUBLE as trouble:
                patience.wait_after(trouble)
                continue
            patience.begin_anew()
            self._stopping.wait(min(pauses, default=self._poll_interval))


class _Pace:
    """Waits between one batch of a reader and its next, as long as there is a reason to."""

    def __init__(self, waker: Waker, stopping: threading.Event, poll_interval: float) -> None:
        self._waker = waker
        self._stopping = stopping
        self._poll_interval = poll_interval
        self._before: int | None = None
        self._standby = MIN_STANDBY_S

    def begin(self) -> None:
        """A batch is about to begin."""
        self._seen, self._began = self._waker.calls, time.monotonic()

    def wait_after(self, reached: int | None) -> None:
        """Wait after a batch that has come to `reached`, or that somebody else has."""
        if reached is None:
            self._stopping.wait(min(self._standby, self._poll_interval))
            self._standby = min(2 * self._standby, MAX_STANDBY_S)
            return
        self._standby = MIN_STANDBY_S
        if reached == self._before:
            self._waker.wait(self._seen, self._poll_interval)
        elif self._before is not None and reached < self._before + BATCH:
            self._stopping.wait(self._began + PACE_S - time.monotonic())
        self._before = reached


class _Patience:
    """Waits after a failure, longer each time, and not once the work is to stop."""

    def __init__(self, name: str, stopping: threading.Event) -> None:
        self._name = name
        self._stopping = stopping
        self.begin_anew()

    def begin_anew(self) -> None:
        """All is well again."""
        self._backoff = MIN_BACKOFF_S

    def wait_after(self, trouble: Exception) -> None:
        """Say what is wrong, and wait."""
        logger.warning("%s: trying again in %.1f s: %s", self._name, self._backoff, trouble)
        self._stopping.wait(self._backoff)
        self._backoff = min(2 * self._backoff, MAX_BACKOFF_S)


def _tell(follower: AnyFollower, error: Exception) -> None:
    """Say what keeps the reader from going on, beside its checkpoint if the database is there."""
    if isinstance(error, StorageUnavailable):
        return
    if not isinstance(error, PASSING_TROUBLE):
        logger.error("the handler of %s failed", follower.name, exc_info=error)
    try:
        follower.note_failure(f"{type(error).__name__}: {error}")
    except PASSING_TROUBLE as trouble:
        logger.warning("the failure of %s could not be noted: %s", follower.name, trouble)
