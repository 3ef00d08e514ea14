"""The read model of the stock: per SKU, what there is, what is coming, what is taken, what is left.

A lot with an arrival date is in transit; the date itself is not compared with today's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from allocation.adapters.read_models.tables import stock_view
from allocation.domain.events import Alloué, Désalloué, LotCréé, QuantitéLotModifiée
from allocation.projections.counters import Counters
from allocation.projections.delivery import Projection, delivered
from allocation.projections.lots_view import LotEvent

STOCK_VIEW = Projection(
    stock_view,
    truth="""
        SELECT sku,
               coalesce(sum(quantité) FILTER (WHERE eta IS NULL), 0) AS en_stock,
               coalesce(sum(quantité) FILTER (WHERE eta IS NOT NULL), 0) AS en_transit,
               sum(quantité_allouée) AS alloué,
               sum(quantité - quantité_allouée) AS disponible,
               min(eta) AS prochaine_eta
        FROM lots WHERE sku > :after AND sku <= :until GROUP BY sku
    """,
)

_COUNTERS = Counters(
    stock_view, sums=("en_stock", "en_transit", "alloué", "disponible"), earliest=("prochaine_eta",)
)


@dataclass
class _Change:
    """What a batch of events adds to the row of one SKU."""

    sku: str
    en_stock: int = 0
    en_transit: int = 0
    alloué: int = 0
    disponible: int = 0
    prochaine_eta: date | None = None

    def add(self, event: LotEvent) -> None:
        match event:
            case LotCréé():
                self._receive(event.quantité, event.eta)
            case QuantitéLotModifiée():
                self._receive(event.quantité - event.quantité_précédente, event.eta)
            case Alloué():
                self._take(event.quantité)
            case Désalloué():
                self._take(-event.quantité)

    def _receive(self, units: int, eta: date | None) -> None:
        self.disponible += units
        if eta is None:
            self.en_stock += units
        else:
            self.en_transit += units
            self.prochaine_eta = min(self.prochaine_eta or eta, eta)

    def _take(self, units: int) -> None:
        self.alloué += units
        self.disponible -= units


@delivered(by=STOCK_VIEW)
def mettre_à_jour_stock_vue(events: Sequence[LotEvent], connection: Connection) -> None:
    """The stock of each SKU as it is after these events."""
    changes: dict[str, _Change] = {}
    for event in events:
        changes.setdefault(event.sku, _Change(event.sku)).add(event)
    _COUNTERS.add(connection, changes.values())
