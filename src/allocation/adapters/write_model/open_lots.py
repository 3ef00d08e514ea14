"""The lots that a line may choose from: the first in the order of allocation, more only if none of them do.

However many lots of a SKU have units left, few of them are read. Two things are known of the others: up to
which place in the order all lots with enough units are loaded, and how many units any other has at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from allocation.adapters.postgresql.messages import Messages, Rows
from allocation.domain.lots import Lot, Ordre
from allocation.domain.model import Produit

FIRST = 8
# Each further query fetches as many lots as are loaded already, up to this number: few queries get many lots.
MOST = 512

# What a Lot is made of, in the order of its fields.
LOT = "SELECT référence, sku, quantité, eta, quantité_allouée, quantité_initiale, rang FROM lots"
_OPEN = f"{LOT} WHERE sku = {{sku}} AND quantité_allouée < quantité"
_ORDER = "coalesce(eta, '-infinity'), rang, référence"

FIRST_LOTS = f"""
    SELECT lot.* FROM unnest(%s::text[]) AS asked (sku)
    CROSS JOIN LATERAL ({_OPEN.format(sku="asked.sku")} ORDER BY {_ORDER} LIMIT {FIRST}) AS lot
"""  # noqa: S608 - our own text
_NEXT_LOTS = f"""
    {_OPEN.format(sku="%(sku)s")} AND quantité - quantité_allouée >= %(units)s
      AND ({_ORDER}) > (%(eta)s::date, %(rang)s, %(référence)s)
    ORDER BY {_ORDER} LIMIT %(limit)s
"""
_ROOMIEST_LOT = f"""
    {_OPEN.format(sku="%(sku)s")} AND référence <> ALL(%(known)s)
    ORDER BY quantité - quantité_allouée DESC LIMIT 1
"""

_BEFORE_ALL: Ordre = (False, date.min, 0, "")


@dataclass
class OpenLots:
    """How much of the open lots of one product is loaded.

    Of the lots with n or more units left, all are loaded up to the place `reached[n]` in the order. A lot
    that is not loaded has at most `at_most` units left; None if nobody has looked yet.
    """

    reached: dict[int, Ordre] = field(default_factory=dict)
    at_most: int | None = None

    @classmethod
    def after_first(cls, lots: Sequence[Lot]) -> "OpenLots":
        """What is known when these lots, the answer to FIRST_LOTS, are loaded."""
        if len(lots) < FIRST:
            return cls(at_most=0)
        return cls(reached={1: lots[-1].ordre})

    def suffice(self, produit: Produit, lot: Lot | None, units: int) -> bool:
        """Whether lots that are not loaded make no difference to a line of `units` units.

        They do if one of them would be used before `lot` or, if that is None, could serve the line or have
        more left than the roomiest.
        """
        if lot is None:
            return self.at_most is not None and self.at_most <= produit.quantité_disponible
        return not self._others_may_serve(units) or lot.ordre <= self._reached(units)

    def more(self, messages: Messages, produit: Produit, units: int) -> Rows:
        """The rows of further lots that a line of `units` units may need."""
        if self.at_most is None or not self._others_may_serve(units):
            return self._roomiest(messages, produit)
        return self._next(messages, produit, units)

    def _others_may_serve(self, units: int) -> bool:
        return self.at_most is None or self.at_most >= units

    def _reached(self, units: int) -> Ordre:
        return max((ordre for least, ordre in self.reached.items() if least <= units), default=_BEFORE_ALL)

    def _roomiest(self, messages: Messages, produit: Produit) -> Rows:
        names = {"sku": produit.sku, "known": [lot.référence for lot in produit.lots]}
        rows = messages.rows(_ROOMIEST_LOT, names)
        self.at_most = max((Lot(*row).quantité_disponible for row in rows), default=0)
        return rows

    def _next(self, messages: Messages, produit: Produit, units: int) -> Rows:
        in_transit, eta, rang, référence = self._reached(units)
        limit = min(max(FIRST, len(produit.lots)), MOST)
        names = {
            "sku": produit.sku,
            "units": units,
            "eta": eta.isoformat() if in_transit else "-infinity",
            "rang": rang,
            "référence": référence,
            "limit": limit,
        }
        rows = messages.rows(_NEXT_LOTS, names)
        if len(rows) < limit:
            # All lots that are not loaded now have too few units left.
            self.at_most = units - 1
        else:
            self.reached[units] = Lot(*rows[-1]).ordre
        return rows
