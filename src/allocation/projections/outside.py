"""Subscriptions whose effects take long: they run while no transaction is open.

claim the next events ─▶ call the handlers ─▶ confirm: the checkpoint moves

A claim expires, so the events of a reader that dies in between are delivered again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from allocation.adapters.journal.checkpoints import Checkpoint, Checkpoints, ParkedEvents
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.rows import StoredEvent
from allocation.adapters.postgresql.database import Database, VersionConflict
from allocation.projections.delivery import Routes, Subscription
from allocation.projections.follower import BATCH, DEFAULT_MAX_PARKED, MAX_TRIES
from allocation.projections.parking import Search, split_off_parked
from allocation.projections.subscription_follower import SubscriptionFollower
from allocation.projections.troubles import is_passing

# A delivery that takes longer may happen twice.
CLAIM_S = 120.0
# A reader that waits for quiet does so for at most this many times the quiet period.
MAX_QUIETS = 30
# After this many failures of a batch without a success in between, the rest of it is parked untried, as the
# cause is not a single event. Finding one among thousands takes fewer attempts.
MAX_FAILURES = 30


def subscription_follower(
    subscription: Subscription, routes: Routes, database: Database, *, max_parked: int
) -> SubscriptionFollower:
    """What follows the journal for this subscription."""
    kind = OutsideFollower if subscription.outside else SubscriptionFollower
    return kind(subscription, routes, database, max_parked=max_parked)


@dataclass
class _Claimed:
    """Events that are this process's until `claim`; up to `reached`, there are no others for the reader."""

    claim: datetime
    reached: int
    rows: Sequence[StoredEvent]


@dataclass
class _Aside:
    """Events to be parked once the rest is confirmed."""

    parked: list[tuple[str, Sequence[int], str]] = field(default_factory=list)

    def add(self, sku: str, positions: Sequence[int], erreur: str) -> None:
        """Park events, with the reason."""
        self.parked.append((sku, positions, erreur))


class OutsideFollower(SubscriptionFollower):
    """Follows the journal for a subscription, and calls the handlers while no transaction is open."""

    def __init__(
        self,
        subscription: Subscription,
        routes: Routes,
        database: Database,
        *,
        max_parked: int = DEFAULT_MAX_PARKED,
    ) -> None:
        super().__init__(subscription, routes, database, max_parked=max_parked)
        self._quiet = _Quiet(subscription.quiet_s)

    def retry(self, sku: str) -> BaseException | None:
        """Deliver the SKU's parked events to the handlers; return what one raised, or None on success."""
        with self._database.working() as connection, connection.begin():
            claim = Checkpoints(connection, self.checkpoints).claim(self.name, CLAIM_S)
            positions = ParkedEvents(connection, self.name).positions(sku)
            rows = PostgreSQLJournal(connection).read_rows_at(positions)
        if claim is None:
            return VersionConflict(f"{self.name} is at work: try again")
        claimed = _Claimed(claim, 0, rows)
        error = self._attempt_outside(claimed, rows)
        with self._database.working() as connection, connection.begin():
            Checkpoints(connection, self.checkpoints).release(self.name, claimed.claim)
            parked = ParkedEvents(connection, self.name)
            if error is None:
                parked.remove(sku)
            else:
                parked.note(sku, f"{type(error).__name__}: {error}")
        return error

    def _advance(self, *, wait: bool) -> int | None:
        self.rest_s = 0.0
        with self._database.following() as connection, connection.begin():
            claimed = self._claim(connection, wait=wait)
        if not isinstance(claimed, _Claimed):
            return claimed
        aside = _Aside()
        try:
            self._carry_out(claimed, aside)
        except BaseException:
            with self._database.following() as connection, connection.begin():
                Checkpoints(connection, self.checkpoints).release(self.name, claimed.claim)
            raise
        return self._confirm(claimed, aside)

    def _claim(self, connection: Connection, *, wait: bool) -> _Claimed | int | None:
        """Claim the next events. Return the position reached if there are none, None if others hold them."""
        checkpoints = Checkpoints(connection, self.checkpoints)
        checkpoint = checkpoints.take(self.name, wait=wait)
        if checkpoint is None or checkpoint.en_pause:
            return None if checkpoint is None else checkpoint.position
        reached, rows = self._gather(PostgreSQLJournal(connection), checkpoint.position)
        if rows and not wait and self._waits_for_quiet(rows):
            return checkpoint.position
        if not rows:
            return self._pass_over(checkpoints, checkpoint, reached)
        claim = checkpoints.claim(self.name, CLAIM_S)
        if claim is None:
            return None
        return _Claimed(claim, reached, split_off_parked(rows, ParkedEvents(connection, self.name)))

    def _gather(self, journal: PostgreSQLJournal, position: int) -> tuple[int, list[StoredEvent]]:
        """At most a batch of events after `position`, and the position up to which the journal was read."""
        rows: list[StoredEvent] = []
        while len(rows) < self._batch:
            ahead = journal.ahead(position, BATCH, self._routes, self.name)
            if ahead.end is None:
                break
            limit, until = self._batch - len(rows), ahead.end
            more = ahead.kinds and journal.read_rows(self._routes, after=position, until=until, limit=limit)
            rows += more or ()
            position = until if not more or len(more) < limit else more[-1].position
        self.has_backlog = len(rows) >= self._batch
        return position, rows

    def _waits_for_quiet(self, rows: Sequence[StoredEvent]) -> bool:
        if not self.has_backlog:
            self.rest_s = self._quiet.remaining(rows[-1].position)
        return self.rest_s > 0

    def _pass_over(self, checkpoints: Checkpoints, checkpoint: Checkpoint, reached: int) -> int:
        """Note that there is nothing to do up to the position reached, unless that was noted before."""
        if reached > checkpoint.position:
            checkpoints.move(self.name, reached, applied=0)
        elif checkpoint.erreur is not None:
            checkpoints.resume(self.name)
        return reached

    def _carry_out(self, claimed: _Claimed, aside: _Aside) -> None:
        """Deliver the events. Raises what the handlers raise; after two failures, sets aside what fails."""
        if self._failures + 1 < MAX_TRIES:
            self._hand_out(claimed.rows, self._database)
            return
        failures: list[BaseException] = []

        def attempt(rows: Sequence[StoredEvent]) -> BaseException | None:
            if len(failures) >= MAX_FAILURES:
                return failures[-1]
            error = self._attempt_outside(claimed, rows)
            if error is None:
                failures.clear()
            else:
                failures.append(error)
            return error

        Search(aside, attempt).deliver(claimed.rows)

    def _attempt_outside(self, claimed: _Claimed, rows: Sequence[StoredEvent]) -> BaseException | None:
        """Deliver these events to the handlers; return what they raised, or None on success."""
        self._renew(claimed)
        try:
            self._hand_out(rows, self._database)
        except BaseException as error:
            if is_passing(error):
                raise
            return error
        return None

    def _renew(self, claimed: _Claimed) -> None:
        with self._database.following() as connection, connection.begin():
            renewed = Checkpoints(connection, self.checkpoints).renew(self.name, claimed.claim, CLAIM_S)
        if renewed is None:
            raise VersionConflict(f"another reader has taken {self.name} over")
        claimed.claim = renewed

    def _confirm(self, claimed: _Claimed, aside: _Aside) -> int | None:
        """Move the checkpoint; return its position, or None if the claim was lost to another reader."""
        with self._database.following() as connection, connection.begin():
            checkpoints = Checkpoints(connection, self.checkpoints)
            if not checkpoints.release(self.name, claimed.claim):
                return None
            parked = ParkedEvents(connection, self.name)
            for sku, positions, erreur in aside.parked:
                parked.add(sku, positions, erreur)
            checkpoints.move(self.name, claimed.reached, applied=len(claimed.rows))
            self._pause_if_too_much_is_parked(connection, checkpoints)
        return claimed.reached


class _Quiet:
    """Tells when no event has come for a while, or a steady stream of them has gone on for long enough."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._newest: int | None = None

    def remaining(self, newest: int) -> float:
        """The seconds left to wait, given the position of the newest event; after 0, another wait begins."""
        now = time.monotonic()
        if self._newest is None:
            self._latest_end = now + MAX_QUIETS * self._quiet_s
        if newest != self._newest:
            self._newest, self._end = newest, now + self._quiet_s
        remaining = min(self._end, self._latest_end) - now
        if remaining <= 0:
            self._newest = None
        return max(0.0, remaining)
