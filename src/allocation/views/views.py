"""What may be asked. Each view is one indexed SELECT on a read model; none knows the domain model.

With `after`, the position of a write (`bus.handle(…).position`), the answer reflects that write: it is waited
for, `wait_s` seconds at most. Then every view raises ViewLate, or at once ProjectionPaused, TooManyWaiting or
TooManyFallBacks; and StorageUnavailable, with or without it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import Protocol

from psycopg.types.json import Json
from sqlalchemy import Connection

from allocation.adapters.coroutines import at_once
from allocation.adapters.postgresql.fetching import Row
from allocation.adapters.postgresql.natural_order import natural
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.domain.errors import RéférenceAmbiguë
from allocation.domain.lots import seul_sku
from allocation.views.freshness import DEFAULT_WAIT_S, Freshness
from allocation.views.view import IDENTIFIER, View

# A day is a day of UTC, whatever the time zone of a session; an arrival is late from the day after on.
TODAY = "(now() AT TIME ZONE 'UTC')::date"

# Whether an arrival is yet to come changes with the day, not with an event: so it is told when it is asked.
_ARRIVAL = """
    SELECT min(eta) FROM lots_view AS lot
    WHERE lot.sku = stock.sku AND eta IS NOT NULL AND quantité_allouée < quantité AND eta
"""
_STOCK_COLUMNS = f"""
    SELECT sku, en_stock, en_transit, alloué, disponible,
           ({_ARRIVAL} >= {TODAY}) AS prochaine_eta, ({_ARRIVAL} < {TODAY}) AS eta_dépassée
    FROM stock_view AS stock
"""  # noqa: S608 - our own text

ALLOCATIONS = View(
    "allocations_view",
    "SELECT sku, réf_lot, quantité, ligne FROM allocations_view WHERE id_commande = {id_commande}",
    parameters={"id_commande": IDENTIFIER},
    order=f"sku, {natural('ligne')}",
)
_LOTS = f"""
    SELECT réf, sku, quantité, quantité_allouée, eta, coalesce(eta < {TODAY}, false) AS eta_dépassée
    FROM lots_view WHERE réf = {{réf}}
"""  # noqa: S608 - our own text
LOT = View(
    "lots_view", f"{_LOTS} AND sku = {{sku}}", parameters={"réf": IDENTIFIER, "sku": IDENTIFIER}, order="sku"
)
# No more of them than a refusal names.
LOTS = View(
    "lots_view",
    f"{_LOTS} ORDER BY sku LIMIT {RéférenceAmbiguë.SKUS_MAX}",
    parameters={"réf": IDENTIFIER},
    order="sku",
)
STOCK = View(
    "stock_view",
    f"{_STOCK_COLUMNS} WHERE sku = {{sku}}",
    parameters={"sku": IDENTIFIER},
    order="sku",
    also=["lots_view"],
    is_object=True,
)
STOCK_PAGE = View(
    "stock_view",
    f"{_STOCK_COLUMNS} WHERE sku > {{after}} ORDER BY sku LIMIT {{limit}}",
    parameters={"after": IDENTIFIER, "limit": "bigint"},
    order="sku",
    also=["lots_view"],
)
# What can be sold: in all, of what is in stock, and of what arrives, day by day.
_FREE = """
    SELECT wanted.sku, place, disponible,
           greatest(disponible - coalesce(arriving, 0), 0) AS disponible_en_stock,
           coalesce(arrivées, '[]') AS arrivées
    FROM json_array_elements_text({skus}) WITH ORDINALITY AS wanted (sku, place)
    LEFT JOIN LATERAL (
        SELECT disponible FROM stock_view WHERE sku = wanted.sku COLLATE "C" OFFSET 0
    ) AS stock ON true
    LEFT JOIN LATERAL (
        SELECT sum(day.disponible) AS arriving,
               json_agg(day ORDER BY eta) AS arrivées
        FROM (
            SELECT eta, sum(quantité - quantité_allouée) AS disponible FROM lots_view
            WHERE sku = wanted.sku COLLATE "C" AND eta IS NOT NULL AND quantité_allouée < quantité
            GROUP BY eta
        ) AS day
    ) AS arrival ON true
"""
DISPONIBILITÉS = View(
    "stock_view",
    f"""
    SELECT coalesce(json_agg(entry ORDER BY place) FILTER (WHERE free.disponible IS NOT NULL), '[]')
               AS disponibilités,
           coalesce(json_agg(free.sku ORDER BY place) FILTER (WHERE free.disponible IS NULL), '[]')
               AS inconnus
    FROM ({_FREE}) AS free
    CROSS JOIN LATERAL (
        SELECT free.sku, free.disponible, free.disponible_en_stock, free.arrivées
    ) AS entry
    """,  # noqa: S608 - our own text
    parameters={"skus": "json"},
    order="disponibilités::text",
    also=["lots_view"],
    is_object=True,
)


class ReadSource(Protocol):
    """What views read from: a unit of work, or the database itself."""

    @property
    def reads(self) -> ReadServers:
        """The servers that views are asked of: a replica, if there is one, and this database."""

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a SELECT, which is prepared, from the primary. Raises StorageUnavailable."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection to the primary. Raises StorageUnavailable."""


def allocations(
    id_commande: str, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> list[Row]:
    """The allocated lines of an order: sku, réf_lot, quantité, ligne; empty when there are none."""
    return at_once(ALLOCATIONS.rows({"id_commande": id_commande}, uow.reads, _reached(after, wait_s))).value


def lot(
    réf: str,
    uow: ReadSource,
    *,
    sku: str | None = None,
    after: int | None = None,
    wait_s: float = DEFAULT_WAIT_S,
) -> Row | None:
    """A lot: réf, sku, quantité, quantité_allouée, eta, and whether that day is past (`eta_dépassée`).

    None when there is none of this reference. Raises RéférenceAmbiguë where no SKU is given, and lots of
    several have it.
    """
    view, asked = lots(réf, sku)
    return the_lot(réf, at_once(view.rows(asked, uow.reads, _reached(after, wait_s))).value)


def lots(réf: str, sku: str | None) -> tuple[View, Mapping[str, object]]:
    """Which view to ask for the lots of this reference, and what: of the SKU or, if that is None, of all."""
    return (LOTS, {"réf": réf}) if sku is None else (LOT, {"réf": réf, "sku": sku})


def the_lot(réf: str, found: Sequence[Row]) -> Row | None:
    """The lot that is meant, of those that were found; None without any. Raises RéférenceAmbiguë."""
    sku = seul_sku(réf, {row["sku"] for row in found})
    return None if sku is None else found[0]


def stock(
    sku: str, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> Row | None:
    """The stock of one SKU in units: en_stock, en_transit, alloué, disponible; None if it is unknown.

    Of the arrivals that have free units, `prochaine_eta` is the next one, from today on, and `eta_dépassée`
    the oldest that is late; None when there is none.
    """
    return at_once(STOCK.row({"sku": sku}, uow.reads, _reached(after, wait_s))).value


def stock_page(
    after_sku: str, limit: int, uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> list[Row]:
    """The stock of at most `limit` SKUs after the SKU `after_sku`, in the order of their code points."""
    return at_once(
        STOCK_PAGE.rows({"after": after_sku, "limit": limit}, uow.reads, _reached(after, wait_s))
    ).value


def disponibilités(
    skus: Sequence[str], uow: ReadSource, *, after: int | None = None, wait_s: float = DEFAULT_WAIT_S
) -> list[Row]:
    """What can be sold of those of the SKUs that are known, in units: sku, disponible, disponible_en_stock.

    `arrivées` has a row for each day on which units arrive that are free: eta, disponible.
    """
    asked = {"skus": Json(list(dict.fromkeys(skus)))}
    found = at_once(DISPONIBILITÉS.row(asked, uow.reads, _reached(after, wait_s))).value
    rows: list[Row] = [] if found is None else found["disponibilités"]
    for arrivée in (each for row in rows for each in row["arrivées"]):
        arrivée["eta"] = date.fromisoformat(arrivée["eta"])
    return rows


def _reached(after: int | None, wait_s: float) -> Freshness:
    return Freshness(after or 0, wait_s)
