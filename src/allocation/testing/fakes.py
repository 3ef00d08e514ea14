"""In-memory implementations of the repository, the unit of work, the journal and the notifications."""

import threading
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import repeat, takewhile
from operator import attrgetter
from typing import Self
from uuid import uuid4

from allocation.adapters.journal.journal import AbstractJournal
from allocation.adapters.journal.original_positions import AbstractOriginalPositions
from allocation.adapters.journal.rows import NO_CAUSE, Cause, RecordedEvent
from allocation.adapters.journal.tokens import ConsistencyToken, mark_of
from allocation.adapters.notifications import AbstractNotifications, Notification
from allocation.adapters.postgresql.database import VersionConflict
from allocation.adapters.write_model.repository import (
    AbstractRepository,
    Needs,
    Waiting,
    handed_out,
)
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé, QuantitéLotModifiée, RuptureDeStock
from allocation.domain.lots import seul_sku
from allocation.domain.model import CléLigne, LigneDeCommande, Lot, Produit


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
    """Copies of the committed products, with the lots and lines that were asked for, and no others.

    A repository on PostgreSQL may have loaded more; code that works here does not depend on that. `flush`
    makes the copies the committed products.
    """

    def __init__(self, store: FakeStore) -> None:
        super().__init__()
        self._store = store
        # Whole copies: lots and lines that are handed out are the same objects as in these.
        self._copies: dict[str, Produit] = {}

    def prepare(self, needs: Sequence[Needs], waiting: Waiting) -> None:
        """Do nothing: there is nothing to lock, and loading products together is no cheaper here."""

    def add(self, produit: Produit) -> None:
        self.seen[produit.sku] = self.known[produit.sku] = produit

    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        if sku not in self.known and sku in self._store.produits:
            copy = self._copies[sku] = deepcopy(self._store.produits[sku])
            self.known[sku] = replace(copy, lots=[], placements={}, ruptures={})
        produit = self.known.get(sku)
        if produit is not None:
            self.seen[sku] = produit
            for ligne in lignes:
                self._hand_out(produit, ligne)
        return produit

    def get_par_réf_lot(self, réf_lot: str, sku: str | None = None) -> Produit | None:
        produits = (*self._store.produits.values(), *self.known.values())
        skus = {produit.sku for produit in produits if produit.lot(réf_lot) is not None}
        if sku is None:
            sku = seul_sku(réf_lot, skus)
        if sku is None or sku not in skus:
            return None
        produit = self.get(sku)
        if produit is not None:
            _take_in(produit, self._copies.get(sku, produit).lot(réf_lot))
        return produit

    def load_surplus(
        self, produit: Produit, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, limit: int
    ) -> int | None:
        lot = handed_out(produit, réf_lot)
        whole = self._whole(produit)
        rang = depuis_rang or whole.rang_limite(lot, quantité)
        if rang is not None:
            leaving = [
                each for each in whole.placements.values() if each.réf_lot == réf_lot and each.rang >= rang
            ]
            for placement in sorted(leaving, key=attrgetter("rang"))[:limit]:
                produit.placements[placement.ligne.clé] = placement
        return rang

    def flush(self) -> None:
        """Commit the products. Raises VersionConflict where a database would refuse them."""
        for produit in self.known.values():
            self._check(produit)
        changed = {sku: deepcopy(self._whole(produit)) for sku, produit in self.known.items()}
        self._store.produits |= changed

    def _check(self, produit: Produit) -> None:
        copy, committed = self._copies.get(produit.sku), self._store.produits.get(produit.sku)
        if (copy and copy.version) != (committed and committed.version):
            raise VersionConflict(f"another writer changed {produit.sku}")
        stored = {} if copy is None else copy.placements
        if any(stored.get(clé, placement) is not placement for clé, placement in produit.placements.items()):
            raise VersionConflict(f"a line of {produit.sku} was known already")
        known = {} if copy is None else {lot.référence: lot for lot in copy.lots}
        if any(known.get(lot.référence, lot) is not lot for lot in produit.lots):
            raise VersionConflict(f"a lot of {produit.sku} was known already")

    def _hand_out(self, produit: Produit, ligne: LigneDeCommande) -> None:
        """Add what is known of the line, and the lot that it would get or, if there is none, the roomiest."""
        whole = self._whole(produit)
        placement = whole.placements.get(ligne.clé)
        if placement is not None:
            produit.placements[ligne.clé] = placement
            if placement.réf_lot is not None:
                return
        lot = whole.lot_pour(ligne)
        if lot is None:
            open_lots = (lot for lot in whole.lots if lot.quantité_disponible > 0)
            lot = max(open_lots, key=attrgetter("quantité_disponible"), default=None)
            if ligne.clé in whole.ruptures:
                produit.ruptures[ligne.clé] = whole.ruptures[ligne.clé]
        _take_in(produit, lot)

    def _whole(self, produit: Produit) -> Produit:
        """The product as it is now, with the lots and lines that were not handed out."""
        copy = self._copies.get(produit.sku, produit)
        return replace(
            produit,
            lots=list(dict.fromkeys([*copy.lots, *produit.lots])),
            placements=copy.placements | produit.placements,
            ruptures=copy.ruptures | produit.ruptures,
            events=[],
        )


def _take_in(produit: Produit, lot: Lot | None) -> None:
    if lot is not None and lot not in produit.lots:
        produit.lots.append(lot)


class FakeUnitOfWork(JournalledUnitOfWork):
    """A transaction on a FakeStore. If others change what it has read, its commit raises VersionConflict."""

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
    """Searches the store's journal."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def of_allocation(self, sku: str, clé: CléLigne) -> int | None:
        return self._last(
            lambda event: (
                isinstance(event, Alloué | RuptureDeStock)
                and (event.sku, (event.id_commande, event.ligne)) == (sku, clé)
            )
        )

    def of_receipt(self, réf_lot: str, sku: str) -> int | None:
        lot = (sku, réf_lot)
        return self._last(lambda event: isinstance(event, LotCréé) and (event.sku, event.réf_lot) == lot)

    def of_correction(self, réf_lot: str, sku: str | None) -> int | None:
        corrected = self._last(
            lambda event: (
                isinstance(event, LotCréé | QuantitéLotModifiée)
                and event.réf_lot == réf_lot
                and sku in {None, event.sku}
            )
        )
        if corrected is None:
            return None
        before = self._store.journal.read(after=0, limit=corrected - 1)
        taken_off = takewhile(
            lambda each: isinstance(each.event, Désalloué) and each.event.réf_lot == réf_lot,
            reversed(before),
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
