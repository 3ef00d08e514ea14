"""Running the readers of the journal: once in the caller's thread, or continuously in their own threads."""

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
from allocation.projections.follower import MAX_TRIES, Follower
from allocation.projections.rebuild import Rebuilder
from allocation.projections.troubles import is_passing

logger = logging.getLogger(__name__)

# The pauses while somebody else holds a reader's checkpoint. The first is short, as it may be a rebuild that
# is about to finish. They grow, as it may be another worker; if that one dies, this one takes over within the
# longest pause.
MIN_STANDBY_S = 0.01
MAX_STANDBY_S = 0.25
# How often a reader shows that it is alive, and how long without such a sign it takes to count as missing.
LIFE_SIGN_S = 5.0
MISSED_AFTER_S = 60.0


def register(followers: Sequence[Follower]) -> None:
    """Make sure that every reader has a checkpoint."""
    for follower in followers:
        follower.register()


def catch_up(followers: Sequence[Follower], until: int) -> None:
    """Bring every reader at least to position `until`, except those that are paused or fail.

    Nothing is raised: the events are already committed, and a reader that stays behind reads them later.
    """
    for follower in followers:
        try:
            _catch_up(follower, until)
        except Exception as error:
            logger.warning("%s stays behind: %s", follower.name, error, exc_info=not is_passing(error))


def _catch_up(follower: Follower, until: int) -> None:
    """Raises failures that no event is to blame for, and those that remain once failing events are parked."""
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
    """Runs readers in threads while its context is open; the threads finish their batches when it closes.

    A reader whose handler fails tries again, then parks the events that fail; the other readers go on
    meanwhile. Read models that have changed are rebuilt, and requested rebuilds are carried out. No thread
    ends before the context closes, whatever is raised in the thread.
    """

    def __init__(
        self,
        followers: Sequence[Follower],
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
            # Either all threads run, or none does and the caller hears of it.
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

    def _follow(self, follower: Follower) -> None:
        patience = Patience(follower.name, logger)
        pace = _Pace(follower.pace_s, self._waker, self._stopping, self._poll_interval)
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

    def _wait(self, follower: Follower, pace: "_Pace", reached: int | None) -> None:
        if follower.rest_s:
            self._stopping.wait(follower.rest_s)
        else:
            pace.wait_after(reached, has_backlog=follower.has_backlog)

    def _rebuild(self) -> None:
        rebuilds = [(each, Patience(f"the rebuild of {each.name}", logger)) for each in self._rebuilders]
        while not self._stopping.is_set():
            self._stopping.wait(min(self._carry_on(rebuilder, patience) for rebuilder, patience in rebuilds))

    def _carry_on(self, rebuilder: Rebuilder, patience: Patience) -> float:
        """Do the next step of a rebuild, if there is one; return the seconds until the next look."""
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
    """Decides how long a reader waits between two batches."""

    def __init__(self, pace_s: float, waker: Waker, stopping: threading.Event, poll_interval: float) -> None:
        self._pace_s = pace_s
        self._waker = waker
        self._stopping = stopping
        self._poll_interval = poll_interval
        self._before: int | None = None
        self._standby = MIN_STANDBY_S

    def begin(self) -> None:
        """Note that a batch begins."""
        self._seen, self._began = self._waker.calls, time.monotonic()

    def wait_after(self, reached: int | None, *, has_backlog: bool) -> None:
        """Wait after a batch that reached this position; None if somebody else holds the reader."""
        if reached is None:
            self._stopping.wait(min(self._standby, self._poll_interval))
            self._standby = min(2 * self._standby, MAX_STANDBY_S)
            return
        self._standby = MIN_STANDBY_S
        if reached == self._before:
            self._waker.wait(self._seen, self._poll_interval)
        elif self._before is not None and not has_backlog:
            self._stopping.wait(self._began + self._pace_s - time.monotonic())
        self._before = reached


class _SignsOfLife:
    """Shows that a reader has a running thread, so that a missing one is noticed."""

    def __init__(self, follower: Follower, poll_interval: float) -> None:
        self._follower = follower
        self._promised_s = poll_interval + MISSED_AFTER_S
        self._due_at = 0.0

    def show(self, *, holds: bool) -> None:
        """Show it every LIFE_SIGN_S seconds, if this thread `holds` the reader: if not, its holder does."""
        now = time.monotonic()
        if holds and now >= self._due_at:
            self._follower.promise(self._promised_s)
            self._due_at = now + LIFE_SIGN_S


def _note(follower: Follower, error: BaseException, failures: int) -> None:
    """Note with the checkpoint what holds the reader up, if the database can be reached."""
    try:
        follower.note_failures(error, failures)
    except Exception as trouble:  # noqa: BLE001 - the log has the failure itself
        logger.debug("the failure of %s could not be noted: %s", follower.name, trouble)
