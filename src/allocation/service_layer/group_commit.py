"""Group commit: commands that arrive while a transaction is under way go together into the next one.

    submit ──▶ queue, a lane for each key ──▶ writer thread: one transaction for many ──▶ an answer for each

One transaction after the other is bounded by how fast the database can commit; here, more load means larger
transactions, not more of them. Databases do so with their logs (DeWitt et al., "Implementation techniques for
main memory database systems", SIGMOD 1984); here whole commands share the transaction.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from allocation.adapters.database import StorageUnavailable, VersionConflict

M = TypeVar("M")

Outcome: TypeAlias = Any

MAX_ATTEMPTS = 10
MAX_RETRY_TIME_S = 5
# Who was answered together often comes back together: a crowd is waited for as long as it grows, a step at a
# time. A larger transaction costs less for each command; a lone command never waits.
GATHERING_STEP_S = 0.001
MAX_GATHERING_STEPS = 5
# A writer thread that has nothing to do for so long ends; the next command starts another.
LINGER_S = 0.2


class QueueFull(Exception):
    """Too many commands wait already: this one was not taken in."""


class GaveUp(Exception):
    """The command was not begun in time: it was taken out of the queue, and nothing has changed."""


@dataclass(frozen=True)
class Limits:
    """How many commands may wait and for how long, how many share a transaction, how long it may run them."""

    waiting: int = 1000
    waiting_s: float = 10.0
    batch: int = 256
    batch_s: float = 0.1


DEFAULT_LIMITS = Limits()


class Observer(Protocol):
    """Who wants to know how the writer is doing."""

    def batch_answered(self, size: int, waited_s: float, transaction_s: float) -> None:
        """So many commands share a transaction; the first of them had waited so long before it."""

    def transaction_retried(self) -> None:
        """A transaction failed, and is tried again as it is."""

    def batch_split(self) -> None:
        """A transaction failed, and its commands are tried one by one."""


class _Unobserved:
    """Who does not want to know."""

    def batch_answered(self, size: int, waited_s: float, transaction_s: float) -> None:
        """Nothing is kept."""

    def transaction_retried(self) -> None:
        """Nothing is kept."""

    def batch_split(self) -> None:
        """Nothing is kept."""


class Answer:
    """What a caller waits for; a Future costs several times as much.

    Each lock is taken once for good: the one by whoever is first, the writer or a caller who gives up, the
    other until there is an outcome.
    """

    __slots__ = ("_begun", "_claimed", "_outcome", "_outstanding")

    def __init__(self) -> None:
        self._claimed = threading.Lock()
        self._begun = False
        self._outstanding = threading.Lock()
        self._outstanding.acquire()

    def begin(self) -> bool:
        """Whether the caller still waits; from now on, it can't give up any more."""
        self._begun = self._begun or self._claimed.acquire(blocking=False)
        return self._begun

    def give_up(self) -> bool:
        """Whether the command is not begun yet; from now on, it never will be."""
        return self._claimed.acquire(blocking=False)

    def give(self, outcome: Outcome) -> None:
        """Let the caller have the result, or raise the refusal there."""
        self._outcome = outcome
        self._outstanding.release()

    def result(self, timeout_s: float = -1) -> Outcome:
        """The result, as soon as there is one. Raises the refusal, or TimeoutError."""
        if not self._outstanding.acquire(timeout=timeout_s):
            raise TimeoutError
        self._outstanding.release()
        if not isinstance(self._outcome, Exception):
            return self._outcome
        try:
            raise self._outcome
        finally:
            # Its trace leads here: both would only be found by the garbage collector.
            del self


@dataclass(eq=False, slots=True)
class Pending(Generic[M]):
    """A command that waits, and the answer that its caller waits for."""

    key: str
    message: M
    answer: Answer = field(default_factory=Answer)
    arrived_at: float = field(default_factory=time.monotonic)


class FairQueue(Generic[M]):
    """First come, first served within a key; between keys, each in its turn.

    However many wait for one key, somebody who asks for another is in the next batch.
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[Pending[M]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, pending: Pending[M]) -> None:
        """Take in a command, behind all others of its key."""
        self._lanes.setdefault(pending.key, deque()).append(pending)
        self._length += 1

    def put_back(self, taken: Sequence[Pending[M]]) -> None:
        """Take in commands again, before all others, in the order in which they were taken."""
        for pending in reversed(taken):
            self._lanes.setdefault(pending.key, deque()).appendleft(pending)
            self._lanes.move_to_end(pending.key, last=False)
        self._length += len(taken)

    def take(self, limit: int) -> list[Pending[M]]:
        """At most `limit` commands, one of each key in turn."""
        taken: list[Pending[M]] = []
        while self._lanes and len(taken) < limit:
            key, lane = self._lanes.popitem(last=False)
            taken.append(lane.popleft())
            if lane:
                self._lanes[key] = lane
        self._length -= len(taken)
        return taken


class GroupCommit(Generic[M]):
    """Answers commands from many threads, with one transaction at a time.

    `transact(messages, deadline)` carries them out in one transaction; for each, in order, the result or the
    refusal, which is an exception. It may leave out the last ones, once the deadline (monotonic, seconds) has
    passed. What it raises has changed nothing. Commands with the same `key` keep their order.
    """

    def __init__(
        self,
        transact: Callable[[Sequence[M], float], Sequence[Outcome]],
        *,
        key: Callable[[M], str],
        limits: Limits,
        observer: Observer | None,
    ) -> None:
        self._transact = transact
        self._key = key
        self._limits = limits
        self._observer = observer or _Unobserved()
        self._queue: FairQueue[M] = FairQueue()
        self._arrival = threading.Condition()
        self._writer: threading.Thread | None = None
        self._crowded = False

    def submit(self, message: M) -> Answer:
        """What will hold the answer to the command. Raises QueueFull."""
        pending = Pending(self._key(message), message)
        with self._arrival:
            if len(self._queue) >= self._limits.waiting:
                raise QueueFull(f"{self._limits.waiting} commands wait already")
            self._queue.put(pending)
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(target=self._write, name="group-commit")
                self._writer.start()
            self._arrival.notify()
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

    def _write(self) -> None:
        while batch := self._next_batch():
            begun = [pending for pending in batch if pending.answer.begin()]
            if begun:
                self._carry_out(begun)

    def _next_batch(self) -> list[Pending[M]]:
        """What waits, as soon as something does; nothing, and the end of this thread, if nothing comes."""
        with self._arrival:
            if not self._arrival.wait_for(self._queue.__len__, LINGER_S):
                self._writer = None
                return []
        if self._crowded:
            self._gather()
        with self._arrival:
            batch = self._queue.take(self._limits.batch)
        self._crowded = len(batch) > 1
        return batch

    def _gather(self) -> None:
        """Let more commands arrive, as long as more do."""
        for _ in range(MAX_GATHERING_STEPS):
            waiting = len(self._queue)
            time.sleep(GATHERING_STEP_S)
            if len(self._queue) == waiting:
                return

    def _carry_out(self, batch: Sequence[Pending[M]]) -> None:
        began = time.monotonic()
        outcomes = self._outcomes([pending.message for pending in batch])
        for pending, outcome in zip(batch, outcomes, strict=False):
            pending.answer.give(outcome)
        with self._arrival:
            self._queue.put_back(batch[len(outcomes) :])
        waited_s = began - min(pending.arrived_at for pending in batch)
        self._observer.batch_answered(len(outcomes), waited_s, time.monotonic() - began)

    def _outcomes(self, messages: Sequence[M]) -> Sequence[Outcome]:
        """The answers to these commands, or to the first of them: one at least."""
        try:
            return self._patiently(messages)
        except StorageUnavailable as away:
            # One exception for each: threads that raise the same one would write over each other's traces.
            return [StorageUnavailable(*away.args) for _ in messages]
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            if len(messages) == 1:
                return [error]
        return self._one_by_one(messages)

    def _one_by_one(self, messages: Sequence[M]) -> list[Outcome]:
        """The answers, each from a transaction of its own: only the guilty one fails."""
        self._observer.batch_split()
        outcomes: list[Outcome] = []
        for message in messages:
            outcomes += self._outcomes([message])
            if isinstance(outcomes[-1], StorageUnavailable):
                # Nobody else should have to wait for the database in vain.
                break
        return outcomes

    def _patiently(self, messages: Sequence[M]) -> Sequence[Outcome]:
        """Try again after outages and, for a single command, after conflicts with other writers."""
        passing = (StorageUnavailable, VersionConflict) if len(messages) == 1 else StorageUnavailable
        retrying = Retrying(
            retry=retry_if_exception_type(passing),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            stop=stop_after_attempt(MAX_ATTEMPTS) | stop_after_delay(MAX_RETRY_TIME_S),
            before_sleep=lambda _: self._observer.transaction_retried(),
            reraise=True,
        )
        return retrying(lambda: self._transact(messages, time.monotonic() + self._limits.batch_s))
