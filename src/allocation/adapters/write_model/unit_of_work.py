"""The unit of work: the changes to products and the events about them, committed together or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from allocation.adapters.journal.rows import NO_CAUSE, Cause
from allocation.adapters.write_model.repository import AbstractRepository
from allocation.domain.events import Event
from allocation.domain.model import Produit


class AbstractUnitOfWork(ABC):
    """Port, as handlers see it: `with uow:` opens it; changes are undone unless there is a `commit`."""

    produits: AbstractRepository

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.rollback()

    @abstractmethod
    def commit(self) -> None:
        """Make the changes and their events durable. Raises VersionConflict or StorageUnavailable."""

    @abstractmethod
    def rollback(self) -> None:
        """Forget everything since the last commit."""


class JournalledUnitOfWork(AbstractUnitOfWork):
    """Port, as the bus sees it: a transaction of its own, whose commit writes state and events together.

    After a commit, `events` are those committed since `with uow:`, and `position` is the journal position of
    the last of them. `cause` is the cause of the events to be collected next. An instance serves one thread,
    and may be used in one `with` block after another.
    """

    events: list[Event]
    position: int | None
    cause: Cause

    def __enter__(self) -> Self:
        self._new: list[Event] = []
        self._causes: list[Cause] = []
        self.cause = NO_CAUSE
        self.events = []
        self.position = None
        return self

    def collect_new_events(self) -> list[Event]:
        """The events that products have emitted since the last call; they are kept for the commit."""
        emitted = _take_events(self.produits.seen)
        self.produits.seen.clear()
        self._add(emitted)
        return emitted

    def commit(self) -> None:
        self._add(_take_events(self.produits.known))
        self.position = self._commit(self._new, self._causes) or self.position
        self.events += self._new
        self._new, self._causes = [], []

    def _add(self, emitted: list[Event]) -> None:
        self._new += emitted
        self._causes += [self.cause] * len(emitted)

    @abstractmethod
    def _commit(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        """Store the products, then append the events; return the last position, or None without events."""


def _take_events(produits: Mapping[str, Produit]) -> list[Event]:
    emitted: list[Event] = []
    for produit in produits.values():
        emitted += produit.events
        produit.events.clear()
    return emitted
