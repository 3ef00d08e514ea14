"""How fresh an answer must be: what a client may ask for, how long it waits, and which server answers.

A view returns its rows together with the journal position that they reflect, from one snapshot. If that is
too early, the request waits, without a connection, and asks again; if the replica can't answer, the primary
does. Nobody gets an older answer than requested, unless the request allows it.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

import psycopg

from allocation.adapters.journal.tokens import ConsistencyToken, is_known
from allocation.adapters.postgresql.database import StorageUnavailable
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers, TooManyWaiting
from allocation.views.staleness import JetonInconnu, NotFresh, ProjectionPaused, ViewLate

T = TypeVar("T")

DEFAULT_WAIT_S = 2.0
# The pause between two looks that disagree: several standbys may share one name.
_RETRY_S = 0.01

# Errors also arise on a standby that has not replayed the migration that this program needs.
_REPLICA_TROUBLE = (StorageUnavailable, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


@dataclass(frozen=True, slots=True)
class Freshness:
    """The view must have reached position `after`; wait for that for at most `wait_s` seconds.

    If there is a `mark`, the event at that position must have it. If `lenient`, an older answer is accepted
    after the wait.
    """

    after: int = 0
    wait_s: float = DEFAULT_WAIT_S
    lenient: bool = False
    mark: str | None = None

    @property
    def token(self) -> ConsistencyToken:
        """The event that must be reflected."""
        return ConsistencyToken(self.after, self.mark)


ANY = Freshness()


@dataclass(slots=True)
class Answer(Generic[T]):
    """The result of a view, and the position of the journal that it reflects.

    `pause` is the reason why the projection is paused, if it is. `stale` means that the answer is older than
    requested; `served_by` names the server if there are two.
    """

    value: T
    position: int
    pause: str | None = None
    stale: bool = False
    served_by: str | None = None


Ask: TypeAlias = Callable[[ReadServer], Awaitable[Answer[T]]]


async def fresh(reads: ReadServers, projection: str, ask: Ask[T], wanted: Freshness) -> Answer[T]:
    """The answer to `ask`, as fresh as `wanted`.

    Raises ViewLate, ProjectionPaused, JetonInconnu, TooManyWaiting, TooManyFallBacks or StorageUnavailable.
    """
    if reads.replica is None and not wanted.after:
        # Most reads end here, without the cost of anything below.
        return await ask(reads.primary)
    reading = _Reading(reads, projection, ask, wanted)
    if reads.replica is None:
        return await reading.answered_by(reads.primary, ask)
    reason = "away"
    if replica := reads.usable_replica():
        try:
            return await reading.answered_by_replica(replica)
        except _REPLICA_TROUBLE:
            reads.replica_failed()
        except (ViewLate, JetonInconnu):
            reason = "late"
        except ProjectionPaused:
            reason = "paused"
    reads.fell_back(reason)
    return await reading.answered_by_fall_back()


async def fresh_on_primary(
    reads: ReadServers, projection: str, ask: Ask[T], wanted: Freshness, *, reaching: int = 0
) -> Answer[T]:
    """The answer of the primary, as fresh as `wanted`, from a projection that has also reached `reaching`.

    Raises ViewLate, ProjectionPaused, JetonInconnu, TooManyWaiting or StorageUnavailable.
    """
    unknown = False
    try:
        if wanted.after:
            await have_known(reads.primary, wanted)
    except JetonInconnu:
        if not wanted.lenient:
            raise
        unknown = True
    needed = replace(wanted, after=reaching if unknown else max(wanted.after, reaching), mark=None)
    answer = await _Reading(reads, projection, ask, needed).answered_by(reads.primary, ask)
    answer.stale = answer.stale or unknown
    answer.served_by = None if reads.replica is None else "primary"
    return answer


async def have_known(server: ReadServer, wanted: Freshness) -> None:
    """Raises JetonInconnu unless the journal has the event asked for, or StorageUnavailable."""
    if not await is_known(server.look_up, wanted.token):
        raise JetonInconnu(wanted.token)


class _Reading(Generic[T]):
    """One question to a view, from asking to answer."""

    def __init__(self, reads: ReadServers, projection: str, ask: Ask[T], wanted: Freshness) -> None:
        self._reads = reads
        self._projection = projection
        self._ask = ask
        self._wanted = wanted
        self._deadline = time.monotonic() + wanted.wait_s

    async def answered_by_replica(self, replica: ReadServer) -> Answer[T]:
        """The answer of the replica."""

        async def ask(server: ReadServer) -> Answer[T]:
            answer = await self._ask(server)
            self._reads.replica_answered()
            return answer

        return self._served_by("replica", await self.answered_by(replica, ask))

    async def answered_by_fall_back(self) -> Answer[T]:
        """The answer of the primary in place of the replica, for a limited number of reads at a time."""

        async def ask(server: ReadServer) -> Answer[T]:
            with self._reads.falling_back.taken():
                return await self._ask(server)

        return self._served_by("primary", await self.answered_by(self._reads.primary, ask))

    async def answered_by(self, server: ReadServer, ask: Ask[T]) -> Answer[T]:
        """The answer of one server: once it is fresh enough or, if a stale one is allowed, after the wait."""
        answer = await ask(server)
        if self._is_reached_by(answer) and self._wanted.mark is None:
            return answer
        try:
            if not self._is_reached_by(answer):
                await self._have_chance(server)
                answer = await self._waited_for(server, ask, answer)
            if not self._is_reached_by(answer):
                raise self._refusal(answer)
            await have_known(server, self._wanted)
        except (JetonInconnu, NotFresh, TooManyWaiting):
            if not self._wanted.lenient:
                raise
            answer.stale = True
        return answer

    async def _have_chance(self, server: ReadServer) -> None:
        """Raises JetonInconnu if waiting is pointless, as even the primary's journal has no such event."""
        try:
            await have_known(self._reads.primary, self._wanted)
        except StorageUnavailable:
            if server is self._reads.primary:
                raise

    def _is_reached_by(self, answer: Answer[T]) -> bool:
        return answer.position >= self._wanted.after

    async def _waited_for(self, server: ReadServer, ask: Ask[T], answer: Answer[T]) -> Answer[T]:
        if not self._may_become_fresh(answer):
            return answer
        with self._reads.waiting.taken():
            while True:
                await server.reached(self._projection, self._wanted.after, self._deadline)
                answer = await ask(server)
                if not self._may_become_fresh(answer):
                    return answer
                await server.pause(_RETRY_S)

    def _may_become_fresh(self, answer: Answer[T]) -> bool:
        return not self._is_reached_by(answer) and answer.pause is None and time.monotonic() < self._deadline

    def _refusal(self, answer: Answer[T]) -> NotFresh:
        if answer.pause is None:
            return ViewLate(
                projection=self._projection,
                position=answer.position,
                position_attendue=self._wanted.after,
            )
        return ProjectionPaused(
            projection=self._projection,
            position=answer.position,
            position_attendue=self._wanted.after,
            raison=answer.pause,
        )

    @staticmethod
    def _served_by(server: str, answer: Answer[T]) -> Answer[T]:
        answer.served_by = server
        return answer
