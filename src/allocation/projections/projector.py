"""Runs the readers of the journal: at once in the caller's thread, or for good in threads of their own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_attempt, wait_exponential

from allocation.adapters.journal.listener import Waker
from allocation.adapters.patience import MIN_BACKOFF_S, Patience
from allocation.projections.follower import MAX_TRIES, AnyFollower
from allocation.projections.rebuild import Rebuilder
from allocation.projections.troubles import is_passing

logger = logging.getLogger(__name__)

# Under load, what is committed within this time is one batch; the first event after a pause does not wait.
PACE_S = 0.04
# Somebody else has the reader: soon no more, if it is a rebuild that takes over; for good, if it is another
# worker. Then this is how soon this one takes over when that one dies.
MIN_STANDBY_S = 0.01
MAX_STANDBY_S = 0.25
# A reader shows so often that it lives, and is missed when it is late by more than so much.
LIFE_SIGN_S = 5.0
MISSED_AFTER_S = 60.0


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
        except Exception as error:
            logger.warning("%s stays behind: %s", follower.name, error, exc_info=not is_passing(error))


def _catch_up(follower: AnyFollower, until: int) -> None:
    """Raises what no event is to blame for, and what is wrong still when a failing event would be parked."""
    trying = Retrying(
        retry=retry_if_exception(lambda error: not is_passing(error)),
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
    models that have changed are rebuilt, and rebuilds that somebody has asked for are carried on. No thread
    ends before the context does, whatever is raised in it.
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
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            # All of them, or none: who has opened the context has to hear of it.
            self._stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._waker.wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _follow(self, follower: AnyFollower) -> None:
        patience = Patience(follower.name, logger)
        pace = _Pace(self._waker, self._stopping, self._poll_interval)
        life = _SignsOfLife(follower, self._poll_interval)
        while not self._stopping.is_set():
            pace.begin()
            try:
                reached = follower.advance(wait=False)
                life.show(holds=reached is not None)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the reader tries again
                pause = patience.pause_after(error, expected=is_passing(error))
                _note(follower, error, patience.failures)
                self._stopping.wait(pause)
            else:
                patience.all_is_well()
                self._wait(follower, pace, reached)

    def _wait(self, follower: AnyFollower, pace: "_Pace", reached: int | None) -> None:
        if follower.rest_s:
            self._stopping.wait(follower.rest_s)
        else:
            pace.wait_after(reached, has_backlog=follower.has_backlog)

    def _rebuild(self) -> None:
        works = [(each, Patience(f"the rebuild of {each.name}", logger)) for each in self._rebuilders]
        while not self._stopping.is_set():
            self._stopping.wait(min(self._carry_on(rebuilder, patience) for rebuilder, patience in works))

    def _carry_on(self, rebuilder: Rebuilder, patience: Patience) -> float:
        """Do the next step of a rebuild, if there is one; after how many seconds to come back."""
        if remaining := patience.remaining():
            return remaining
        try:
            rebuilder.begin_if_changed()
            pause = rebuilder.advance()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is tried again, and the others go on
            return patience.pause_after(error, expected=is_passing(error))
        patience.all_is_well()
        return self._poll_interval if pause is None else pause


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

    def wait_after(self, reached: int | None, *, has_backlog: bool) -> None:
        """Wait after a batch that has come to `reached`, or that somebody else has."""
        if reached is None:
            self._stopping.wait(min(self._standby, self._poll_interval))
            self._standby = min(2 * self._standby, MAX_STANDBY_S)
            return
        self._standby = MIN_STANDBY_S
        if reached == self._before:
            self._waker.wait(self._seen, self._poll_interval)
        elif self._before is not None and not has_backlog:
            self._stopping.wait(self._began + PACE_S - time.monotonic())
        self._before = reached


class _SignsOfLife:
    """Lets everybody know that a reader has a thread, which would be missed."""

    def __init__(self, follower: AnyFollower, poll_interval: float) -> None:
        self._follower = follower
        self._promised_s = poll_interval + MISSED_AFTER_S
        self._due_at = 0.0

    def show(self, *, holds: bool) -> None:
        """Now and then, if this thread `holds` the reader: another one shows it otherwise."""
        now = time.monotonic()
        if holds and now >= self._due_at:
            self._follower.promise(self._promised_s)
            self._due_at = now + LIFE_SIGN_S


def _note(follower: AnyFollower, error: BaseException, failures: int) -> None:
    """Say beside its checkpoint what keeps the reader from going on, if the database lets us."""
    try:
        follower.note_failures(error, failures)
    except Exception as trouble:  # noqa: BLE001 - the log has the failure itself
        logger.debug("the failure of %s could not be noted: %s", follower.name, trouble)
