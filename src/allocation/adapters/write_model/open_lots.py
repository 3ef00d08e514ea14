"""The lots that a line may choose from: the first in the order of allocation, more only if they don't do.

However many lots of a SKU have units left, few of them are read. What is known of the others is the place in
the order up to which all lots with enough units are loaded, and how many units any other has at most.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeAlias

from allocation.adapters.postgresql.messages import Messages
from allocation.domain.lots import Lot, Ordre
from allocation.domain.model import Produit

FIRST = 8
# The next ones come by as many as are loaded already, so that few round trips fetch many.
MOST = 512

Rows: TypeAlias = Iterable[tuple[Any, ...]]

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

    Of the lots with n units left, or more, all up to `reached[n]` are. The others have `at_most` units left;
    None: nobody has looked yet.
    """

    reached: dict[int, Ordre] = field(default_factory=dict)
    at_most: int | None = None

    @classmethod
    def after_first(cls, lots: Sequence[Lot]) -> "OpenLots":
        """What is known when these are the first ones."""
        if len(lots) < FIRST:
            return cls(at_most=0)
        return cls(reached={1: lots[-1].ordre})

    def suffice(self, produit: Produit, lot: Lot | None, units: int) -> bool:
        """Whether no other lot could be given instead or, if this is none, change what is told."""
        if lot is None:
            return self.at_most is not None and self.at_most <= produit.quantité_disponible
        return not self._others_may_serve(units) or lot.ordre <= self._reached(units)

    def more(self, messages: Messages, produit: Produit, units: int) -> Rows:
        """Some that are missing for a line of so many units."""
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
            # Whatever is not loaded now is too small.
            self.at_most = units - 1
        else:
            self.reached[units] = Lot(*rows[-1]).ordre
        return rows
