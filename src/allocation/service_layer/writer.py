"""A thread that carries out the commands in its queue, all that have arrived in the meantime at once."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from allocation.service_layer.commit_queue import FairQueue, Pending

logger = logging.getLogger(__name__)

M = TypeVar("M")

# Clients that were answered together often come back together. So after a shared transaction, the writer
# waits, step by step, as long as more commands arrive: a larger transaction costs less per command. A lone
# command never waits.
GATHERING_STEP_S = 0.001
MAX_GATHERING_STEPS = 10
# A writer thread ends when it has had nothing to do for this long; the next command starts another.
LINGER_S = 0.2


class Writer(Generic[M]):
    """Carries out batches of at most `limit` commands; its thread ends when none comes for `linger_s`.

    Call every method with the `lock` held. `at_end`, when the thread ends, is called with the lock held as
    well; `carry_out` is called without it, and returns how many commands of the batch are done with.
    """

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        name: str,
        lock: threading.Lock,
        carry_out: Callable[[Sequence[Pending[M]]], int],
        limit: int,
        linger_s: float,
        *,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._name = name
        self._carry_out = carry_out
        self._limit = limit
        self._linger_s = linger_s
        self._at_end = at_end
        self._queue: FairQueue[M] = FairQueue()
        self._arrival = threading.Condition(lock)
        self._thread: threading.Thread | None = None
        self._crowded = False
        # How long batches take, and each of their commands, unless there is little to do.
        self.took_s = 0.0
        self._seconds_each = 0.0

    def __len__(self) -> int:
        """How many commands are waiting."""
        return len(self._queue)

    def answer_s(self, key: str | None = None) -> float:
        """How long a new command would wait for its answer, with this key or any, as the last batches tell.

        0 if the last one had little to do.
        """
        if not self._seconds_each:
            return 0.0
        ahead = len(self._queue) if key is None else self._queue.ahead_of(key)
        # After the batch that is under way come those ahead of it, and its own batch.
        return 2 * self.took_s + ahead * self._seconds_each

    def put(self, pending: Pending[M]) -> None:
        """Add a command, after all others of its key."""
        self._queue.put(pending)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=self._name)
            self._thread.start()
        self._arrival.notify()

    def put_back(self, taken: Sequence[Pending[M]]) -> None:
        """Put commands of the present batch back, before all others."""
        self._queue.put_back(taken)

    def take_all(self, key: str) -> Sequence[Pending[M]]:
        """Remove and return all commands of this key."""
        return self._queue.take_all(key)

    def _run(self) -> None:
        while batch := self._next_batch():
            begun = [pending for pending in batch if pending.answer.begin()]
            if not begun:
                continue
            began = time.monotonic()
            try:
                done = self._carry_out(begun)
            except Exception:
                logger.exception("%s goes on", self._name)
            else:
                self._learn(len(begun), done, time.monotonic() - began)

    def _next_batch(self) -> Sequence[Pending[M]]:
        """Wait for commands and take a batch; if none come in time, an empty one, and this thread ends."""
        with self._arrival:
            if not self._arrival.wait_for(self._queue.__len__, self._linger_s):
                self._thread = None
                self._at_end()
                return ()
        if self._crowded:
            self._gather()
        with self._arrival:
            batch = self._queue.take(self._limit)
        self._crowded = len(batch) > 1
        return batch

    def _learn(self, begun: int, done: int, seconds: float) -> None:
        """Take in how long a batch has taken; of several, the later ones count for more."""
        if done == begun <= self._limit // 2:
            self.took_s, self._seconds_each = seconds, 0.0
            return
        each = seconds / max(done, 1)
        self.took_s = (self.took_s + seconds) / 2
        self._seconds_each = (self._seconds_each + each) / 2 if self._seconds_each else each

    def _gather(self) -> None:
        """Wait in steps as long as more commands arrive, and a batch is not full."""
        for _ in range(MAX_GATHERING_STEPS):
            waiting = len(self._queue)
            if waiting >= self._limit:
                return
            time.sleep(GATHERING_STEP_S)
            if len(self._queue) == waiting:
                return
