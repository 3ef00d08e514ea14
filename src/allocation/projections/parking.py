"""Finding the events that a handler can't apply, to park them with all later events of the same SKU."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from allocation.adapters.journal.checkpoints import ParkedEvents
from allocation.adapters.journal.rows import StoredEvent

logger = logging.getLogger(__name__)

LATER = "after an event of the same SKU that could not be applied"


class Aside(Protocol):
    """Where events that can't be delivered are put."""

    def add(self, sku: str, positions: Sequence[int], erreur: str) -> None:
        """Park events, with the reason."""


def split_off_parked(rows: Sequence[StoredEvent], parked: ParkedEvents) -> list[StoredEvent]:
    """The events of SKUs that have no parked events; all others are parked as well."""
    skus = parked.skus()
    if not skus:
        return list(rows)
    for sku in skus:
        parked.add(sku, [row.position for row in rows if row.sku == sku], LATER)
    return [row for row in rows if row.sku not in skus]


class Search:
    """Delivers the events that can be delivered and parks the others, which it finds by bisection.

    `attempt` delivers events or, on failure, undoes the delivery and returns the error.
    """

    def __init__(
        self, parked: Aside, attempt: Callable[[Sequence[StoredEvent]], BaseException | None]
    ) -> None:
        self._parked = parked
        self._attempt = attempt

    def deliver(self, rows: Sequence[StoredEvent]) -> None:
        """Deliver these events in order, for each SKU up to the first event that can't be delivered."""
        if not rows or self._attempt(rows) is None:
            return
        skus = sorted({row.sku for row in rows})
        if len(skus) == 1:
            self._deliver_one_sku(rows)
            return
        first_half = frozenset(skus[: len(skus) // 2])
        self.deliver([row for row in rows if row.sku in first_half])
        self.deliver([row for row in rows if row.sku not in first_half])

    def _deliver_one_sku(self, rows: Sequence[StoredEvent]) -> None:
        found = self._guilty(rows)
        if found is None:
            return
        guilty, error = found
        logger.error("parked: event %s of %s: %s", guilty.position, guilty.sku, error, exc_info=error)
        self._parked.add(guilty.sku, [guilty.position], f"{type(error).__name__}: {error}")
        later = [row.position for row in rows if row.position > guilty.position]
        self._parked.add(guilty.sku, later, LATER)

    def _guilty(self, rows: Sequence[StoredEvent]) -> tuple[StoredEvent, BaseException] | None:
        """Deliver the events before the first that can't be delivered; return that event and its error."""
        error = self._attempt(rows)
        if error is None:
            return None
        if len(rows) == 1:
            return rows[0], error
        half = len(rows) // 2
        return self._guilty(rows[:half]) or self._guilty(rows[half:])
