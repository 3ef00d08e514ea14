"""Looking for what a handler can't apply, to put it aside with everything behind it of the same SKU."""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from allocation.adapters.journal.checkpoints import ParkedEvents

logger = logging.getLogger(__name__)

BEHIND = "behind an event of the same SKU that could not be applied"


class Row(Protocol):
    """An event as it is stored: its place in the journal, and what it is about."""

    @property
    def position(self) -> int: ...

    @property
    def sku(self) -> str: ...


class Aside(Protocol):
    """Where events are put that can't be delivered."""

    def add(self, sku: str, positions: Sequence[int], erreur: str) -> None:
        """Park events, with the reason."""


R = TypeVar("R", bound=Row)


def split_off_parked(rows: Sequence[R], parked: ParkedEvents) -> list[R]:
    """The events of SKUs that have none parked; the others join those that are."""
    skus = parked.skus()
    if not skus:
        return list(rows)
    for sku in skus:
        parked.add(sku, [row.position for row in rows if row.sku == sku], BEHIND)
    return [row for row in rows if row.sku not in skus]


class Search(Generic[R]):
    """Delivers what can be delivered, and parks what can't: halves what fails until the guilty are found.

    `attempt` delivers events or, when that fails, undoes it and returns the error.
    """

    def __init__(self, parked: Aside, attempt: Callable[[Sequence[R]], BaseException | None]) -> None:
        self._parked = parked
        self._attempt = attempt

    def deliver(self, rows: Sequence[R]) -> None:
        """Deliver these events, each SKU's in order, up to the first of its SKU that can't be delivered."""
        if not rows or self._attempt(rows) is None:
            return
        skus = sorted({row.sku for row in rows})
        if len(skus) == 1:
            self._deliver_one_sku(rows)
            return
        first_half = frozenset(skus[: len(skus) // 2])
        self.deliver([row for row in rows if row.sku in first_half])
        self.deliver([row for row in rows if row.sku not in first_half])

    def _deliver_one_sku(self, rows: Sequence[R]) -> None:
        found = self._guilty(rows)
        if found is None:
            return
        guilty, error = found
        logger.error("parked: event %s of %s: %s", guilty.position, guilty.sku, error, exc_info=error)
        self._parked.add(guilty.sku, [guilty.position], f"{type(error).__name__}: {error}")
        behind = [row.position for row in rows if row.position > guilty.position]
        self._parked.add(guilty.sku, behind, BEHIND)

    def _guilty(self, rows: Sequence[R]) -> tuple[R, BaseException] | None:
        """Deliver up to the first event that can't be; that event, and why not."""
        error = self._attempt(rows)
        if error is None:
            return None
        if len(rows) == 1:
            return rows[0], error
        half = len(rows) // 2
        return self._guilty(rows[:half]) or self._guilty(rows[half:])
