"""Keeps the processes of `allocation serve` running, and stops all of them cleanly."""

import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any

logger = logging.getLogger(__name__)

MIN_BACKOFF_S = 0.25
MAX_BACKOFF_S = 10.0
# After running for this long, a process counts as healthy: its next restart is immediate again.
WELL_AFTER_S = 30.0
STOP_TIMEOUT_S = 30.0

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Child:
    """A process that is restarted when it ends, after a pause that doubles as long as it keeps ending."""

    def __init__(self, name: str, target: Callable[..., None], *args: Any) -> None:
        self.name = name
        self._target = target
        self._args = args
        self._backoff = MIN_BACKOFF_S

    def start(self) -> None:
        """Start the process. Raises OSError if the machine can't run another one."""
        process = multiprocessing.Process(
            target=_with_signals_of_its_own, args=(self._target, *self._args), name=self.name
        )
        # Until the child has set its own handlers, it would handle a signal as the supervisor does.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        self._process = process
        self._started_at = time.monotonic()
        self._due_at: float | None = None

    @property
    def sentinel(self) -> int | None:
        """The object to wait on for the end of the process; None once the end has been noticed."""
        return self._process.sentinel if self._due_at is None else None

    def look_after(self) -> None:
        """Restart the process if it has ended and its pause is over."""
        now = time.monotonic()
        if self._due_at is None and not self._process.is_alive():
            if now - self._started_at > WELL_AFTER_S:
                self._backoff = MIN_BACKOFF_S
            self._pause(now, f"ended with status {self._process.exitcode}")
        if self._due_at is not None and now >= self._due_at:
            try:
                self.start()
            except OSError as error:
                self._pause(now, f"could not be started: {error}")

    def _pause(self, now: float, trouble: str) -> None:
        """Schedule a restart after a pause that grows each time."""
        logger.error("%s %s, starting it again in %.2f s", self.name, trouble, self._backoff)
        self._due_at = now + self._backoff
        self._backoff = min(2 * self._backoff, MAX_BACKOFF_S)

    def seconds_until_due(self) -> float:
        """The seconds left of its pause; infinite while the process runs."""
        return float("inf") if self._due_at is None else max(0.0, self._due_at - time.monotonic())

    def terminate(self) -> None:
        """Ask the process to stop."""
        self._process.terminate()

    def join(self, timeout: float) -> None:
        """Wait for the end of the process; after `timeout` seconds, kill it."""
        self._process.join(timeout)
        if self._process.is_alive():
            logger.error("%s did not stop in time", self.name)
            self._process.kill()
            self._process.join()


def fork_where_it_is_safe() -> None:
    """Make this process and Granian fork their children, which then need not import everything again."""
    # On other systems, system libraries may run threads, which a fork would break.
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork")


def supervise(children: Sequence[Child], each_tick: Callable[[], float]) -> None:
    """Start the children and restart those that end, until SIGTERM or SIGINT; then stop all of them.

    `each_tick` is called regularly; it returns the seconds after which it must be called again at the latest.
    """
    wakeup = _wake_on_stop_signals()
    # Imported modules are never freed; keeping the garbage collector off them keeps their memory shared.
    gc.freeze()
    for child in children:
        child.start()
    try:
        while not _stop_requested(wakeup):
            pause = each_tick()
            for child in children:
                child.look_after()
            pause = min(pause, *(child.seconds_until_due() for child in children))
            sentinels = [child.sentinel for child in children if child.sentinel is not None]
            connection.wait([*sentinels, wakeup], timeout=pause)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join(STOP_TIMEOUT_S)


def _wake_on_stop_signals() -> int:
    """A file descriptor that becomes readable when the process is asked to stop."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, lambda *_: None)
    signal.set_wakeup_fd(writable)
    return readable


def _stop_requested(wakeup: int) -> bool:
    try:
        return bool(os.read(wakeup, 1))
    except BlockingIOError:
        return False


def _with_signals_of_its_own(target: Callable[..., None], *args: Any) -> None:
    """Call `target` in a child, after resetting the signal handlers that a forked child inherits."""
    signal.set_wakeup_fd(-1)
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    target(*args)
