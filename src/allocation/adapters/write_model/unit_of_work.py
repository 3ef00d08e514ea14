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
    """Port, as handlers see it: `with uow:` opens, `commit` agrees, leaving without it undoes."""

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
    """Port, as the bus sees it: a transaction of its own, whose commit writes state and facts together.

    After a commit, `events` is what was committed since `with uow:`, and `position` the journal's position of
    the last of them. `cause` is what the events that are collected next follow from. An instance serves one
    thread, and one `with` after another.
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
        """What products handed out since the last call have emitted; it is kept for the commit."""
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
        """Store the products, append the events last; the position of the last one, None without any."""


def _take_events(produits: Mapping[str, Produit]) -> list[Event]:
    emitted: list[Event] = []
    for produit in produits.values():
        emitted += produit.events
        produit.events.clear()
    return emitted
