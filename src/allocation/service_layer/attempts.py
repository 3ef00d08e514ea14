"""How commands that share a transaction get their answers: together, retried after outages, or one by one."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

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
from allocation.service_layer.callers import Promised
from allocation.service_layer.commit_queue import Pending
from allocation.service_layer.observer import Observer, tell

M = TypeVar("M")

MAX_ATTEMPTS = 10
MAX_RETRY_TIME_S = 5


class Attempts(Generic[M]):
    """Carries out commands by `transact`, described in `GroupCommit`, so that a faulty one fails alone."""

    def __init__(
        self,
        transact: Callable[[Sequence[M], float, Waiting], Sequence[Promised]],
        seconds: float,
        observer: Observer | None,
    ) -> None:
        self._transact = transact
        self._seconds = seconds
        self._observer = observer

    def outcomes(self, batch: Sequence[Pending[M]], waiting: Waiting) -> Sequence[Promised]:
        """The answers to these commands, or to the first of them (at least one)."""
        try:
            return self._patiently([pending.message for pending in batch], waiting)
        except StorageUnavailable as away:
            if not isinstance(away, Locked) or waiting is Waiting.PATIENTLY or len(batch) == 1:
                # One for each: threads that raise the same exception would overwrite each other's traceback.
                return [type(away)(*away.args) for _ in batch]
            if waiting is not Waiting.NOT_AT_ALL:
                return self.outcomes(batch, Waiting.NOT_AT_ALL)
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            # What would end a thread must end neither this one nor the caller's.
            if len(batch) == 1:
                return [
                    error if isinstance(error, Exception) else RuntimeError(f"a handler raised {error!r}")
                ]
        return self._one_by_one(batch, waiting)

    def _one_by_one(self, batch: Sequence[Pending[M]], waiting: Waiting) -> list[Promised]:
        """The answers, each from a transaction of its own, so that a faulty command fails alone."""
        tell(self._observer, lambda observer: observer.batch_split())
        outcomes: list[Promised] = []
        locked: dict[str, Locked] = {}
        for pending in batch:
            if pending.key in locked:
                outcomes.append(locked[pending.key])
                continue
            outcomes += self.outcomes([pending], waiting)
            if isinstance(outcomes[-1], Locked):
                locked[pending.key] = outcomes[-1]
            elif isinstance(outcomes[-1], StorageUnavailable):
                # The other commands must not wait for the database in vain.
                break
        return outcomes

    def _patiently(self, messages: Sequence[M], waiting: Waiting) -> Sequence[Promised]:
        """Carry out the messages, retrying after outages and, for a single one, after conflicts."""
        passing = (StorageUnavailable, VersionConflict) if len(messages) == 1 else StorageUnavailable
        retrying = Retrying(
            retry=retry_if_exception_type(passing) & retry_if_not_exception_type((Locked, OutcomeUnknown)),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            stop=stop_after_attempt(MAX_ATTEMPTS) | stop_after_delay(MAX_RETRY_TIME_S),
            before_sleep=lambda _: tell(self._observer, lambda observer: observer.transaction_retried()),
            reraise=True,
        )
        return retrying(lambda: self._transact(messages, self._seconds, waiting))
