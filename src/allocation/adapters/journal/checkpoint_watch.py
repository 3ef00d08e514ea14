"""The positions of a server's projections, polled by one thread while anybody waits for them.

NOTIFY would be faster, but does not exist on standbys and does not pass through poolers.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from allocation.adapters.postgresql.fetching import Fetch

INTERVAL_S = 0.01
# The thread ends when nobody has waited for this long; the next wait starts another one.
LINGER_S = 0.2

_LOOK = "SELECT name, position, en_pause FROM projections"


@dataclass(frozen=True)
class _Sighting:
    position: int = 0
    paused: bool = False


_NOWHERE = _Sighting()


class CheckpointWatch:
    """Lets any number of threads wait for projections, without holding a connection."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._changed = threading.Condition()
        self._seen: Mapping[str, _Sighting] = {}
        self._failures = 0
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def wait(self, projection: str, position: int, deadline: float) -> None:
        """Return once it is worth asking the view again.

        That is when the projection has reached `position`, when it is paused, when the server does not
        answer, or at `deadline` (monotonic, in seconds).
        """
        with self._changed:
            failures = self._failures
            self._waiting += 1
            try:
                self._have_watched()
                self._changed.wait_for(
                    lambda: self._failures > failures or self._is_decided(projection, position),
                    deadline - time.monotonic(),
                )
            finally:
                self._waiting -= 1

    def _is_decided(self, projection: str, position: int) -> bool:
        checkpoint = self._seen.get(projection, _NOWHERE)
        return checkpoint.position >= position or checkpoint.paused

    def _have_watched(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, name="checkpoint-watch")
            self._thread.start()
        self._changed.notify_all()

    def _watch(self) -> None:
        while self._somebody_waits():
            began = time.monotonic()
            self._look()
            time.sleep(max(0.0, began + INTERVAL_S - time.monotonic()))

    def _somebody_waits(self) -> bool:
        with self._changed:
            if self._changed.wait_for(lambda: self._waiting > 0, LINGER_S):
                return True
            # What was seen will be too old for whoever waits next.
            self._seen, self._thread = {}, None
            return False

    def _look(self) -> None:
        try:
            rows = self._fetch(_LOOK, {})
            seen = {row["name"]: _Sighting(row["position"], row["en_pause"]) for row in rows}
        except BaseException:  # noqa: BLE001 - whoever waits asks the view again, and gets the error there
            with self._changed:
                self._failures += 1
                self._changed.notify_all()
            return
        with self._changed:
            if seen != self._seen:
                self._seen = seen
                self._changed.notify_all()
