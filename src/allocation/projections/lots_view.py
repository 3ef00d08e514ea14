"""The read model of one lot: what it holds and how much of it is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from sqlalchemy import Connection

from allocation.adapters.read_models.tables import lots_view
from allocation.domain.events import Alloué, Désalloué, LotCréé, QuantitéLotModifiée
from allocation.projections.counters import Counters
from allocation.projections.delivery import Projection, delivered

LOTS_VIEW = Projection(
    lots_view,
    truth="""
        SELECT référence AS réf, sku, quantité, quantité_allouée, eta
        FROM lots WHERE sku > :after AND sku <= :until
    """,
    version=2,
)

_COUNTERS = Counters(lots_view, sums=("quantité", "quantité_allouée"))

LotEvent: TypeAlias = LotCréé | QuantitéLotModifiée | Alloué | Désalloué


@dataclass
class _Change:
    """What a batch of events adds to the row of one lot."""

    réf: str
    sku: str
    quantité: int = 0
    quantité_allouée: int = 0
    eta: date | None = None

    def add(self, event: LotEvent) -> None:
        match event:
            case LotCréé():
                self.quantité += event.quantité
                self.eta = event.eta
            case QuantitéLotModifiée():
                self.quantité += event.quantité - event.quantité_précédente
            case Alloué():
                self.quantité_allouée += event.quantité
            case Désalloué():
                self.quantité_allouée -= event.quantité


@delivered(by=LOTS_VIEW)
def mettre_à_jour_lots_vue(events: Sequence[LotEvent], connection: Connection) -> None:
    """Each lot as it is after these events."""
    changes: dict[tuple[str, str], _Change] = {}
    for event in events:
        changes.setdefault((event.sku, event.réf_lot), _Change(event.réf_lot, event.sku)).add(event)
    _COUNTERS.add(connection, changes.values())
