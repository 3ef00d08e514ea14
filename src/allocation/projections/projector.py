"""Runs the readers of the journal: at once in the caller's thread, or for good in threads of their own."""

import logging
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from allocation.adapters.database import StorageUnavailable, VersionConflict
from allocation.adapters.journal_listener import Waker
from allocation.projections.follower import BATCH, Follower

logger = logging.getLogger(__name__)

# Trouble outside of the program (database, mail server): worth trying again, without end.
PASSING_TROUBLE = (StorageUnavailable, VersionConflict, OSError)
MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
# Under load, what is committed within this time is one batch; the first event after a pause does not wait.
PACE_S = 0.04


def register(followers: Sequence[Follower]) -> None:
    """Make sure that every reader has a checkpoint."""
    for follower in followers:
        follower.register()


def catch_up(followers: Sequence[Follower], until: int) -> None:
    """Bring every reader to position `until` at least. One that fails is logged, and the others go on."""
    for follower in followers:
        try:
            while (follower.advance(wait=True) or 0) < until:
                pass
        except Exception:
            logger.exception("%s stays behind: its handler failed", follower.name)


class Projector:
    """While its context is open, keeps readers at the end of the journal; then finishes their batches.

    A reader whose handler fails stops, loudly, with the reason beside its checkpoint; the others go on.
    """

    def __init__(self, followers: Sequence[Follower], waker: Waker, *, poll_interval: float) -> None:
        self._waker = waker
        self._poll_interval = poll_interval
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=[follower], name=follower.name) for follower in followers
        ]

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

    def _run(self, follower: Follower) -> None:
        backoff = MIN_BACKOFF_S
        reached: int | None = None
        while True:
            seen = self._waker.calls
            if self._stopping.is_set():
                return
            try:
                began = time.monotonic()
                before, reached = reached, follower.advance(wait=False)
                if reached is None or reached == before:
                    self._waker.wait(seen, self._poll_interval)
                elif before is not None and reached < before + BATCH:
                    self._stopping.wait(began + PACE_S - time.monotonic())
                backoff = MIN_BACKOFF_S
            except PASSING_TROUBLE as trouble:
                logger.warning("%s tries again in %.1f s: %s", follower.name, backoff, trouble)
                self._stopping.wait(backoff)
                backoff = min(2 * backoff, MAX_BACKOFF_S)
            except Exception as error:
                logger.critical("%s has stopped: its handler failed", follower.name, exc_info=True)
                _note_failure(follower, error)
                return


def _note_failure(follower: Follower, error: Exception) -> None:
    try:
        follower.note_failure(f"{type(error).__name__}: {error}")
    except PASSING_TROUBLE as trouble:
        logger.warning("the failure of %s could not be noted: %s", follower.name, trouble)
