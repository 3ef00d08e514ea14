"""Retrying after failures: with growing pauses, and without flooding the log."""

import logging
import re
import time

MIN_BACKOFF_S = 0.1
# The longest pause, so the longest that work stands still once an outage is over.
MAX_BACKOFF_S = 2.0
# The same reason is logged again after this long, then after twice as long, and so on.
MIN_SILENCE_S = 60.0
MAX_SILENCE_S = 3600.0

_NUMBERS = re.compile(r"\d+")


class Patience:
    """How one thread handles failures in a row: how long it waits, and what it logs."""

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self.failures = 0
        self._name = name
        self._logger = logger
        self._not_before = self._silent_until = 0.0
        self._silence = MIN_SILENCE_S
        self._reason = ""

    def pause_after(self, error: BaseException, *, expected: bool) -> float:
        """Log the failure if it is news, with its traceback unless `expected`; return the seconds to wait."""
        self.failures += 1
        pause = min(MIN_BACKOFF_S * 2.0 ** min(self.failures - 1, 10), MAX_BACKOFF_S)
        self._not_before = time.monotonic() + pause
        self._tell(error, expected=expected)
        return pause

    def remaining(self) -> float:
        """The seconds left of the last pause."""
        return max(0.0, self._not_before - time.monotonic())

    def all_is_well(self) -> None:
        """Note a success: the next failure counts as the first."""
        if self.failures > 1:
            self._logger.info("%s goes on, after %s failures", self._name, self.failures)
        self.failures, self._reason = 0, ""

    def _tell(self, error: BaseException, *, expected: bool) -> None:
        # Another process ID or port alone is not news.
        reason = _NUMBERS.sub("#", f"{type(error).__name__}: {error}")
        now = time.monotonic()
        if reason != self._reason:
            self._reason, self._silence = reason, MIN_SILENCE_S
        elif now < self._silent_until:
            return
        else:
            self._silence = min(2 * self._silence, MAX_SILENCE_S)
        self._silent_until = now + self._silence
        level = logging.WARNING if expected else logging.ERROR
        trace = None if expected else error
        self._logger.log(level, "%s failed, and is tried again: %s", self._name, error, exc_info=trace)
