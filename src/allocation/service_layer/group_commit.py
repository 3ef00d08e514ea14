"""Group commit: commands that arrive while a transaction is under way go together into the next one.

    submit ──▶ queue, a lane for each key ──▶ writer thread: one transaction for many ──▶ an answer for each
                ▲                  ├▶ what somebody has locked: a writer thread of its own, which waits for it
                └──────────────────┘  and without one that is free: into the queue again, for a while

One transaction after the other is bounded by how fast the database can commit; here, more load means larger
transactions, not more of them. Databases do so with their logs (DeWitt et al., "Implementation techniques for
main memory database systems", SIGMOD 1984); here whole commands share the transaction.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    stop_after_delay,
)
from tenacity.wait import wait_random_exponential

from allocation.adapters.postgresql.database import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    VersionConflict,
)
from allocation.adapters.write_model.repository import Waiting
from allocation.service_layer.commit_queue import Answer, Outcome, Pending
from allocation.service_layer.writer import LINGER_S, Writer

logger = logging.getLogger(__name__)

M = TypeVar("M")

MAX_ATTEMPTS = 10
MAX_RETRY_TIME_S = 5
# A key's own writer stays a while, as whoever comes next for the key would else hold up the others again.
APART_LINGER_S = 2.0
# So long a locked command that can have no writer of its own is tried again among the others.
LOCK_PATIENCE_S = 3.0


class QueueFull(Exception):
    """Too many commands wait already: this one was not taken in."""


class GaveUp(Exception):
    """The command was not begun in time: it was taken out of the queue, and nothing has changed."""


@dataclass(frozen=True)
class Limits:
    """How many commands may wait and for how long, how many share a transaction, how long it may run them.

    `apart` keys may have a writer of their own, which takes a connection each: one must be left for the rest.
    """

    waiting: int = 1000
    waiting_s: float = 10.0
    batch: int = 256
    batch_s: float = 0.1
    apart: int = 4


DEFAULT_LIMITS = Limits()


class Observer(Protocol):
    """Who wants to know how the writer is doing."""

    def batch_answered(self, size: int, waited_s: float, transaction_s: float) -> None:
        """So many commands share a transaction; the first of them had waited so long before it."""

    def transaction_retried(self) -> None:
        """A transaction failed, and is tried again as it is."""

    def batch_split(self) -> None:
        """A transaction failed, and its commands are tried one by one."""


class GroupCommit(Generic[M]):
    """Answers commands from many threads, with one transaction at a time; with more where others hold locks.

    `transact(messages, deadline, waiting)` carries them out in one transaction; for each, in order, the
    result or the refusal, which is an exception. It may leave out the last ones, once the deadline
    (monotonic, seconds) has passed. What it raises has changed nothing, save OutcomeUnknown. Commands with
    the same `key` keep their order.
    """

    def __init__(
        self,
        transact: Callable[[Sequence[M], float, Waiting], Sequence[Outcome]],
        *,
        key: Callable[[M], str],
        limits: Limits,
        observer: Observer | None,
    ) -> None:
        self._transact = transact
        self._key = key
        self._limits = limits
        self._observer = observer
        self._lock = threading.Lock()
        self._together: Writer[M] = Writer(
            "group-commit", self._lock, self._carry_out, limits.batch, LINGER_S
        )
        self._apart: dict[str, Writer[M]] = {}

    def submit(self, message: M) -> Answer:
        """What will hold the answer to the command. Raises QueueFull."""
        pending = Pending(self._key(message), message)
        with self._lock:
            if sum(map(len, (self._together, *self._apart.values()))) >= self._limits.waiting:
                raise QueueFull(f"{self._limits.waiting} commands wait already")
            self._apart.get(pending.key, self._together).put(pending)
        return pending.answer

    def answer(self, message: M) -> Outcome:
        """The answer to the command. Raises what `transact` gives as its refusal, QueueFull, or GaveUp."""
        answer = self.submit(message)
        try:
            return answer.result(self._limits.waiting_s)
        except TimeoutError:
            if answer.give_up():
                raise GaveUp(f"not begun within {self._limits.waiting_s:g} s") from None
            return answer.result()

    def _carry_out(self, batch: Sequence[Pending[M]]) -> None:
        """Answer these commands; what is locked goes on apart from the others."""
        began = time.monotonic()
        outcomes = self._outcomes(batch, Waiting.BRIEFLY if self._limits.apart else Waiting.LONGER)
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

    def _carry_out_apart(self, batch: Sequence[Pending[M]]) -> None:
        """Answer these commands of one key, however long it takes."""
        began = time.monotonic()
        outcomes = self._outcomes(batch, Waiting.PATIENTLY)
        with self._lock:
            self._apart[batch[0].key].put_back(batch[len(outcomes) :])
        for pending, outcome in zip(batch, outcomes, strict=False):
            pending.answer.give(outcome)
        self._tell_of(batch, len(outcomes), began)

    def _set_apart(self, locked: Iterable[Pending[M]]) -> None:
        """Let these commands, and all others of their keys, wait without the rest: as many as may."""
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
                elif pending.waited_for_lock_s(now) < LOCK_PATIENCE_S:
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

    def _outcomes(self, batch: Sequence[Pending[M]], waiting: Waiting) -> Sequence[Outcome]:
        """The answers to these commands, or to the first of them: one at least."""
        try:
            return self._patiently([pending.message for pending in batch], waiting)
        except StorageUnavailable as away:
            if not isinstance(away, Locked) or waiting is Waiting.PATIENTLY or len(batch) == 1:
                # One for each: threads that raise the same exception would write over each other's traces.
                return [type(away)(*away.args) for _ in batch]
            if waiting is not Waiting.NOT_AT_ALL:
                return self._outcomes(batch, Waiting.NOT_AT_ALL)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            if len(batch) == 1:
                return [error]
        return self._one_by_one(batch, waiting)

    def _one_by_one(self, batch: Sequence[Pending[M]], waiting: Waiting) -> list[Outcome]:
        """The answers, each from a transaction of its own: only the guilty one fails."""
        self._tell(lambda observer: observer.batch_split())
        outcomes: list[Outcome] = []
        locked: dict[str, Locked] = {}
        for pending in batch:
            if pending.key in locked:
                outcomes.append(locked[pending.key])
                continue
            outcomes += self._outcomes([pending], waiting)
            if isinstance(outcomes[-1], Locked):
                locked[pending.key] = outcomes[-1]
            elif isinstance(outcomes[-1], StorageUnavailable):
                # Nobody else should have to wait for the database in vain.
                break
        return outcomes

    def _patiently(self, messages: Sequence[M], waiting: Waiting) -> Sequence[Outcome]:
        """Try again after outages and, for a single command, after conflicts with other writers."""
        passing = (StorageUnavailable, VersionConflict) if len(messages) == 1 else StorageUnavailable
        retrying = Retrying(
            retry=retry_if_exception_type(passing) & retry_if_not_exception_type((Locked, OutcomeUnknown)),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            stop=stop_after_attempt(MAX_ATTEMPTS) | stop_after_delay(MAX_RETRY_TIME_S),
            before_sleep=lambda _: self._tell(lambda observer: observer.transaction_retried()),
            reraise=True,
        )
        return retrying(lambda: self._transact(messages, time.monotonic() + self._limits.batch_s, waiting))

    def _tell_of(self, batch: Sequence[Pending[M]], answered: int, began: float) -> None:
        waited_s = began - min(pending.arrived_at for pending in batch)
        transaction_s = time.monotonic() - began
        self._tell(lambda observer: observer.batch_answered(answered, waited_s, transaction_s))

    def _tell(self, news: Callable[[Observer], None]) -> None:
        """Let the observer know; its own trouble is not that of the commands."""
        if self._observer is None:
            return
        try:
            news(self._observer)
        except Exception:
            logger.exception("the observer of the group commit failed")
