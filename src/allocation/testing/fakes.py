"""In-memory implementations of the repository, the unit of work, the journal and the notifications."""

import threading
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from typing import Self
from uuid import uuid4

from allocation.adapters.database import VersionConflict
from allocation.adapters.journal import NO_CAUSE, AbstractJournal, Cause, RecordedEvent
from allocation.adapters.notifications import AbstractNotifications, Notification
from allocation.adapters.repository import AbstractRepository, Needs
from allocation.domain.events import Event
from allocation.domain.model import LigneDeCommande, Produit
from allocation.service_layer.unit_of_work import JournalledUnitOfWork


class FakeJournal(AbstractJournal):
    """A list of events; whoever appends must hold the store's lock."""

    def __init__(self) -> None:
        self._recorded: list[RecordedEvent[Event]] = []

    def append(self, events: Sequence[Event], causes: Sequence[Cause] = ()) -> int:
        for event, cause in zip(events, causes or repeat(NO_CAUSE), strict=False):
            position = len(self._recorded) + 1
            self._recorded.append(RecordedEvent(position, uuid4(), datetime.now(UTC), event, cause))
        return len(self._recorded)

    def read(self, after: int, limit: int) -> list[RecordedEvent[Event]]:
        return self._recorded[after : after + limit]

    def last_position(self) -> int:
        return len(self._recorded)


@dataclass
class FakeStore:
    """What is committed: shared by the units of work of one test."""

    produits: dict[str, Produit] = field(default_factory=dict)
    journal: FakeJournal = field(default_factory=FakeJournal)
    lock: threading.Lock = field(default_factory=threading.Lock)


class FakeRepository(AbstractRepository):
    """Copies of the committed products, which become the committed ones with `flush`."""

    def __init__(self, store: FakeStore) -> None:
        super().__init__()
        self._store = store
        self._loaded_versions: dict[str, int | None] = {}

    def prepare(self, needs: Sequence[Needs]) -> None:
        """Everything is at hand already."""

    def add(self, produit: Produit) -> None:
        self.seen[produit.sku] = self.known[produit.sku] = produit
        self._loaded_versions[produit.sku] = None

    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        if sku not in self.known and sku in self._store.produits:
            produit = self.known[sku] = deepcopy(self._store.produits[sku])
            self._loaded_versions[sku] = produit.version
        if sku in self.known:
            self.seen[sku] = self.known[sku]
        return self.seen.get(sku)

    def get_par_réf_lot(self, réf_lot: str, quantité: int | None = None) -> Produit | None:
        for sku, produit in self._store.produits.items():
            if any(lot.référence == réf_lot for lot in produit.lots):
                return self.get(sku)
        return None

    def flush(self) -> None:
        """Commit the products. Raises VersionConflict as a database would refuse them."""
        for sku, version in self._loaded_versions.items():
            committed = self._store.produits.get(sku)
            if version != (committed.version if committed else None):
                raise VersionConflict(f"another writer changed {sku}")
        produits = self._store.produits | deepcopy(self.known)
        references = Counter(lot.référence for produit in produits.values() for lot in produit.lots)
        if any(count > 1 for count in references.values()):
            raise VersionConflict("another writer created a lot with the same reference")
        self._store.produits = produits


class FakeUnitOfWork(JournalledUnitOfWork):
    """A transaction on a FakeStore: what it has read may be changed by others until it commits."""

    produits: FakeRepository

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()

    def __enter__(self) -> Self:
        self.produits = FakeRepository(self.store)
        return super().__enter__()

    def rollback(self) -> None:
        self.produits = FakeRepository(self.store)

    def _commit(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        with self.store.lock:
            self.produits.flush()
            position = self.store.journal.append(events, causes) if events else None
        self.produits = FakeRepository(self.store)
        return position


class FakeNotifications(AbstractNotifications):
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []

    def send(self, notification: Notification) -> None:
        self.sent.append(notification)
