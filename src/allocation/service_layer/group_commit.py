"""Group commit: commands that arrive during a transaction share the next one.

    submit ──▶ queue, a lane for each key ──▶ writer thread: one transaction for many ──▶ an answer for each
                ▲                  ├▶ a locked key: a writer thread of its own, which waits for the lock
                └──────────────────┘  or, if none is free, back into the queue for a while

With one transaction per command, throughput is limited by how fast the database can commit. Here, more load
makes transactions larger, not more numerous. Databases do the same with their logs (DeWitt et al.,
"Implementation techniques for main memory database systems", SIGMOD 1984); here whole commands are shared.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from allocation.adapters.postgresql.database import Locked
from allocation.adapters.write_model.repository import Waiting
from allocation.domain.errors import AllocationError
from allocation.service_layer.attempts import Attempts
from allocation.service_layer.callers import BlockingPromise, Caller, P, Promise, Promised
from allocation.service_layer.commit_queue import Pending
from allocation.service_layer.limits import Limits
from allocation.service_layer.observer import Observer, tell
from allocation.service_layer.writer import LINGER_S, Writer

M = TypeVar("M")

# A key's own writer lingers, as the next command for the key would otherwise delay the others again.
APART_LINGER_S = 2.0
# Where this process's transactions take longer, so may those of others, whose locks are waited for longer.
LONG_S = 0.05
# How long a locked command without a writer of its own is retried among the others.
LOCK_PATIENCE_S = 3.0


class QueueFull(AllocationError):
    """Too many commands are already waiting: this one was not accepted."""


class GaveUp(AllocationError):
    """The command was not begun in time: it was removed from the queue, and nothing has changed."""


class GroupCommit(Generic[M]):
    """Answers commands from many threads, one transaction at a time; more at a time for keys that are locked.

    `transact(messages, seconds, waiting)` carries out the messages in one transaction and returns for each,
    in order, its result or its refusal, an exception. Once it has run them for that many seconds, it may
    leave out the last ones. If it raises anything but OutcomeUnknown, nothing has changed. Commands
    with the same `key` keep their order.
    """

    def __init__(
        self,
        transact: Callable[[Sequence[M], float, Waiting], Sequence[Promised]],
        *,
        key: Callable[[M], str],
        limits: Limits,
        observer: Observer | None,
    ) -> None:
        self._attempts = Attempts(transact, limits.batch_s, observer)
        self._key = key
        self._limits = limits
        self._observer = observer
        self._lock = threading.Lock()
        self._together: Writer[M] = Writer(
            "group-commit", self._lock, self._carry_out, limits.batch, LINGER_S
        )
        self._apart: dict[str, Writer[M]] = {}

    def check_room(self) -> None:
        """Raises QueueFull while a caller who would wait for the answer would not be let in.

        Who asks before reading the command has spent nothing on one that is refused. (A command whose key
        has a writer of its own might be let in all the same.)
        """
        self._check_room_with(self._together, None, self._limits.crowded_s)

    def submit(self, message: M) -> BlockingPromise:
        """Queue the command; return its future answer. Raises QueueFull."""
        answer = BlockingPromise()
        self._queue(message, answer, crowded_s=math.inf)
        return answer

    async def answer(self, message: M, caller: Caller[P]) -> Promised:
        """Queue the command and wait for its answer. Raises its refusal, QueueFull or GaveUp."""
        answer = caller.promise()
        self._queue(message, answer, crowded_s=self._limits.crowded_s)
        try:
            return await caller.outcome(answer, self._limits.waiting_s)
        except TimeoutError:
            if answer.give_up():
                raise GaveUp(f"not begun within {self._limits.waiting_s:g} s") from None
            return await caller.outcome(answer)

    def _queue(self, message: M, answer: Promise, *, crowded_s: float) -> None:
        pending = Pending(self._key(message), message, answer)
        with self._lock:
            if sum(map(len, (self._together, *self._apart.values()))) >= self._limits.waiting:
                raise QueueFull(f"{self._limits.waiting} commands wait already")
            writer = self._apart.get(pending.key, self._together)
            self._check_room_with(writer, pending.key, crowded_s)
            writer.put(pending)

    def _check_room_with(self, writer: Writer[M], key: str | None, crowded_s: float) -> None:
        if len(writer) >= self._limits.batch and (answer_s := writer.answer_s(key)) > crowded_s:
            raise QueueFull(f"{len(writer)} commands wait: one more would for about {answer_s:.1f} s")

    def _carry_out(self, batch: Sequence[Pending[M]]) -> int:
        """Answer these commands, or the first of them, and return how many; those locked are set apart."""
        began = time.monotonic()
        outcomes = self._attempts.outcomes(batch, self._waiting_for(batch))
        with self._lock:
            self._together.put_back(batch[len(outcomes) :])
        locked = []
        for pending, outcome in zip(batch, outcomes, strict=False):
            if isinstance(outcome, Locked):
                locked.append(pending)
            else:
                pending.answer.give(outcome)
        self._set_apart(locked)
        if len(outcomes) > len(locked):
            self._tell_of(batch, len(outcomes) - len(locked), began)
        return len(outcomes)

    def _waiting_for(self, batch: Sequence[Pending[M]]) -> Waiting:
        """How long to wait for locks: others should not wait again for what is known to be locked."""
        found_locked = {pending.found_locked_at is not None for pending in batch}
        if not self._limits.apart or (found_locked == {False} and self._together.took_s > LONG_S):
            return Waiting.LONGER
        return Waiting.NOT_AT_ALL if len(found_locked) > 1 else Waiting.BRIEFLY

    def _carry_out_apart(self, batch: Sequence[Pending[M]]) -> int:
        """Answer these commands of one key, or the first of them, however long it takes; return how many."""
        began = time.monotonic()
        outcomes = self._attempts.outcomes(batch, Waiting.PATIENTLY)
        with self._lock:
            self._apart[batch[0].key].put_back(batch[len(outcomes) :])
        for pending, outcome in zip(batch, outcomes, strict=False):
            pending.answer.give(outcome)
        self._tell_of(batch, len(outcomes), began)
        return len(outcomes)

    def _set_apart(self, locked: Iterable[Pending[M]]) -> None:
        """Move these commands, and all others of their keys, to writers of their own, as far as these go."""
        now = time.monotonic()
        again, refused = [], []
        with self._lock:
            new = set()
            for pending in locked:
                if pending.key not in self._apart and len(self._apart) < self._limits.apart:
                    self._apart[pending.key] = self._writer_of(pending.key)
                    new.add(pending.key)
                if pending.key in self._apart:
                    self._apart[pending.key].put(pending)
                elif pending.found_locked_at is None or now - pending.found_locked_at < LOCK_PATIENCE_S:
                    pending.found_locked_at = pending.found_locked_at or now
                    again.append(pending)
                else:
                    refused.append(pending)
            self._together.put_back(again)
            for key in new:
                for pending in self._together.take_all(key):
                    self._apart[key].put(pending)
        for pending in refused:
            pending.answer.give(Locked(f"locked by somebody else for {LOCK_PATIENCE_S:g} s"))

    def _writer_of(self, key: str) -> Writer[M]:
        return Writer(
            "group-commit-apart",
            self._lock,
            self._carry_out_apart,
            self._limits.batch,
            APART_LINGER_S,
            at_end=lambda: self._apart.pop(key),
        )

    def _tell_of(self, batch: Sequence[Pending[M]], answered: int, began: float) -> None:
        waited_s = began - min(pending.arrived_at for pending in batch)
        transaction_s = time.monotonic() - began
        tell(self._observer, lambda observer: observer.batch_answered(answered, waited_s, transaction_s))
