"""In-memory implementations of the repository, the unit of work, the journal and the notifications."""

import threading
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import repeat, takewhile
from typing import Self
from uuid import uuid4

from allocation.adapters.journal.journal import AbstractJournal
from allocation.adapters.journal.original_positions import AbstractOriginalPositions
from allocation.adapters.journal.rows import NO_CAUSE, Cause, RecordedEvent
from allocation.adapters.journal.tokens import ConsistencyToken, mark_of
from allocation.adapters.notifications import AbstractNotifications, Notification
from allocation.adapters.postgresql.database import VersionConflict
from allocation.adapters.write_model.repository import AbstractRepository, Needs, Waiting, only_sku
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.commands import Allouer
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé, QuantitéLotModifiée, RuptureDeStock
from allocation.domain.model import LigneDeCommande, Produit


class FakeJournal(AbstractJournal):
    """A list of events; whoever appends must hold the store's lock."""

    def __init__(self) -> None:
        self._recorded: list[RecordedEvent[Event]] = []

    def append(self, events: Sequence[Event], causes: Sequence[Cause] = ()) -> int:
        instant = datetime.now(UTC)
        if self._recorded:
            instant = max(instant, self._recorded[-1].survenu_le + timedelta(microseconds=1))
        for event, cause in zip(events, causes or repeat(NO_CAUSE), strict=False):
            position = len(self._recorded) + 1
            self._recorded.append(RecordedEvent(position, uuid4(), instant, event, cause))
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

    def prepare(self, needs: Sequence[Needs], waiting: Waiting) -> None:
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

    def get_par_réf_lot(self, réf_lot: str, sku: str | None = None) -> Produit | None:
        produits = self._store.produits | self.known
        skus = {sku for sku, produit in produits.items() if produit.lot(réf_lot) is not None}
        if sku is None:
            sku = only_sku(réf_lot, skus)
        return self.get(sku) if sku in skus else None

    def load_surplus(
        self, produit: Produit, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, limit: int
    ) -> int | None:
        """Everything is at hand already."""
        lot = produit.lot(réf_lot)
        return None if lot is None else depuis_rang or produit.rang_limite(lot, quantité)

    def flush(self) -> None:
        """Commit the products. Raises VersionConflict as a database would refuse them."""
        for sku, version in self._loaded_versions.items():
            committed = self._store.produits.get(sku)
            if version != (committed.version if committed else None):
                raise VersionConflict(f"another writer changed {sku}")
        self._store.produits |= deepcopy(self.known)


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


class FakeOriginalPositions(AbstractOriginalPositions):
    """Looks through the store's journal."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def of_allocation(self, command: Allouer) -> int | None:
        line = (command.id_commande, command.sku, command.ligne)
        return self._last(
            lambda event: (
                isinstance(event, Alloué | RuptureDeStock)
                and (event.id_commande, event.sku, event.ligne) == line
            )
        )

    def of_receipt(self, réf_lot: str) -> int | None:
        return self._last(lambda event: isinstance(event, LotCréé) and event.réf_lot == réf_lot)

    def of_correction(self, réf_lot: str) -> int | None:
        corrected = self._last(
            lambda event: isinstance(event, LotCréé | QuantitéLotModifiée) and event.réf_lot == réf_lot
        )
        if corrected is None:
            return None
        before = self._store.journal.read(after=0, limit=corrected - 1)
        taken_off = takewhile(
            lambda each: isinstance(each.event, Désalloué) and each.event.réf_lot == réf_lot, reversed(before)
        )
        return corrected + len(list(taken_off))

    def marked(self, position: int) -> ConsistencyToken:
        found = self._store.journal.read(after=position - 1, limit=1) if position else []
        return ConsistencyToken(position, *(mark_of(each.cause.id or each.id) for each in found))

    def end(self) -> int:
        return self._store.journal.last_position()

    def _last(self, wanted: Callable[[Event], bool]) -> int | None:
        recorded = reversed(self._store.journal.read(after=0, limit=self.end()))
        return next((each.position for each in recorded if wanted(each.event)), None)


class FakeNotifications(AbstractNotifications):
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []

    def send(self, notification: Notification) -> None:
        self.sent.append(notification)
