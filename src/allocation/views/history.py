"""Histories, read from the journal; and past states, calculated back from the present read models.

An instant belongs to a position of the journal, for good. The state there is the present state less what has
happened since, so it can be told as long as the events since are in the journal, whatever older ones are
archived. A view and its position are read in one statement: events that the view does not have yet are not
subtracted, and neither are parked ones.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from allocation.adapters.coroutines import at_once
from allocation.adapters.journal.ledger import ETA, entering, moves, of_types
from allocation.adapters.journal.serialization import upcast
from allocation.adapters.postgresql.fetching import Row
from allocation.adapters.postgresql.natural_order import natural
from allocation.adapters.postgresql.read_servers import ReadServer, ReadServers
from allocation.domain.events import LotCréé
from allocation.domain.ledger import Compartiment
from allocation.views.freshness import ANY, DEFAULT_WAIT_S, Answer, Freshness, fresh_on_primary
from allocation.views.past_view import PastView
from allocation.views.views import ReadSource

_HORIZON = "(SELECT max(dernier_survenu_le) FROM journal_archives)"

_EVENTS = """
    SELECT {horizon} AS horizon, coalesce((SELECT max(position) FROM journal), 0) AS fin,
           {known} AS connu, event.*
    FROM (VALUES (1)) AS always LEFT JOIN LATERAL (
        SELECT position, survenu_le, type, version, data, commande, cause FROM journal
        WHERE {about} AND position > %(after)s ORDER BY position LIMIT %(limit)s
    ) AS event ON true
    ORDER BY position
"""
_ABOUT_SKU = "sku = %(sku)s"
_ABOUT_ORDER = "id_commande = %(id_commande)s"
_STOCK_HISTORY = _EVENTS.format(
    horizon=_HORIZON,
    about=_ABOUT_SKU,
    known=f"""
        EXISTS (SELECT FROM journal WHERE {_ABOUT_SKU}) OR EXISTS (SELECT FROM stock_view WHERE {_ABOUT_SKU})
    """,  # noqa: S608 - our own text
)
_ORDER_HISTORY = _EVENTS.format(
    horizon=_HORIZON,
    about=_ABOUT_ORDER,
    known=f"""
        EXISTS (SELECT FROM journal WHERE {_ABOUT_ORDER})
        OR EXISTS (SELECT FROM allocations_view WHERE {_ABOUT_ORDER})
    """,  # noqa: S608 - our own text
)

# `view.target` is the journal's position at the instant or, if the view has not come that far, the view's.
_VIEW_AT = """
    SELECT name, position, least(position, %(target)s) AS target, {horizon} AS horizon,
           CASE WHEN en_pause THEN coalesce(erreur, '') END AS pause
    FROM projections WHERE name = '{name}'
"""
# The day in UTC, as for the present state.
_DAY = "(%(at)s::timestamptz AT TIME ZONE 'UTC')::date"
_NOT_PARKED = """
    NOT EXISTS (
        SELECT FROM parked
        WHERE lecteur = view.name AND parked.sku = journal.sku AND parked.position = journal.position
    )
"""
# The lot that a line had is the one that units had entered for it and not left.
_ALLOCATIONS_AT = f"""
    WITH view AS MATERIALIZED (
        {_VIEW_AT.format(horizon=_HORIZON, name="allocations_view")}
    ), line AS (
        SELECT sku, réf_lot, sum(units)::int AS quantité, ligne
        FROM (
            SELECT sku, réf_lot, quantité AS units, ligne FROM allocations_view WHERE {_ABOUT_ORDER}
            UNION ALL
            SELECT sku, réf_lot, - {entering(Compartiment.ALLOUÉ)}, ligne FROM journal, view
            WHERE {_ABOUT_ORDER} AND {moves(Compartiment.ALLOUÉ)}
              AND journal.position > view.target AND journal.position <= view.position AND {_NOT_PARKED}
        ) AS now_and_since
        GROUP BY sku, ligne, réf_lot HAVING sum(units) > 0
    )
    SELECT horizon, view.position AS reached, pause, line.*
    FROM view LEFT JOIN line ON true ORDER BY sku, {natural("ligne")}
"""  # noqa: S608 - our own text

# Arrivals come from the lots that existed and their free units, by lots_view. Its position may differ from
# that of stock_view, so it is calculated from there to the same target.
_STOCK_AT = f"""
    WITH view AS MATERIALIZED (
        {_VIEW_AT.format(horizon=_HORIZON, name="stock_view")}
    ), lots AS MATERIALIZED (
        SELECT name, position FROM projections WHERE name = 'lots_view'
    ), since AS (
        SELECT coalesce(sum(received) FILTER (WHERE eta IS NULL), 0) AS en_stock,
               coalesce(sum(received) FILTER (WHERE eta IS NOT NULL), 0) AS en_transit,
               coalesce(sum(taken), 0) AS alloué, coalesce(sum(freed), 0) AS disponible
        FROM (
            SELECT - {entering(Compartiment.HORS_STOCK)} AS received, {ETA} AS eta,
                   {entering(Compartiment.ALLOUÉ)} AS taken, {entering(Compartiment.LIBRE)} AS freed
            FROM journal, view
            WHERE {_ABOUT_SKU} AND journal.position > view.target AND journal.position <= view.position
              AND {_NOT_PARKED}
        ) AS movement
    ), passed AS (
        SELECT réf_lot AS réf, {ETA} AS eta, {of_types(LotCréé)} AND journal.position > view.target AS begins,
               {entering(Compartiment.LIBRE)} * CASE WHEN journal.position > view.target THEN -1 ELSE 1 END
               AS units
        FROM journal, view, lots
        WHERE {_ABOUT_SKU} AND {moves(Compartiment.LIBRE)}
          AND journal.position > least(view.target, lots.position)
          AND journal.position <= greatest(view.target, lots.position)
          AND {_NOT_PARKED.replace("view.name", "lots.name")}
    ), free AS (
        SELECT réf, eta, quantité - quantité_allouée AS units FROM lots_view WHERE {_ABOUT_SKU}
        UNION ALL
        SELECT réf, eta, units FROM passed
    ), lot AS (
        SELECT max(eta) AS eta, sum(units) AS free FROM free
        WHERE réf NOT IN (SELECT réf FROM passed WHERE begins) GROUP BY réf
    ), arrivals AS (
        SELECT count(*) AS lots,
               min(eta) FILTER (WHERE free > 0 AND eta >= {_DAY}) AS prochaine_eta,
               min(eta) FILTER (WHERE free > 0 AND eta < {_DAY}) AS eta_dépassée
        FROM lot
    )
    SELECT horizon, view.position AS reached, pause, stock.* FROM view LEFT JOIN LATERAL (
        SELECT sku, (now.en_stock - since.en_stock)::bigint AS en_stock,
               (now.en_transit - since.en_transit)::bigint AS en_transit,
               (now.alloué - since.alloué)::bigint AS alloué,
               (now.disponible - since.disponible)::bigint AS disponible,
               arrivals.prochaine_eta, arrivals.eta_dépassée
        FROM stock_view AS now, since, arrivals
        WHERE {_ABOUT_SKU} AND arrivals.lots > 0
    ) AS stock ON true
"""  # noqa: S608 - our own text


class History(list[Row]):
    """Some events, oldest first. `horizon` is the instant up to which events are archived, hence not here."""

    def __init__(self, events: Sequence[Row], horizon: datetime | None) -> None:
        super().__init__(events)
        self.horizon = horizon


class HistoryOf:
    """One SELECT on the journal: the first events after position `after`, at most `limit` of them."""

    def __init__(self, select: str) -> None:
        self._select = select

    async def page(
        self, parameters: Mapping[str, object], reads: ReadServers, wanted: Freshness
    ) -> Answer[History | None]:
        """A page of events, as of the journal's present end; None if nothing is known of their subject.

        Raises JetonInconnu or StorageUnavailable.
        """

        async def ask(server: ReadServer) -> Answer[History | None]:
            return _history(await server.fetch(self._select, parameters))

        return await fresh_on_primary(reads, "journal", ask, wanted)


STOCK = HistoryOf(_STOCK_HISTORY)
ORDER = HistoryOf(_ORDER_HISTORY)
STOCK_AT = PastView("stock_view", _STOCK_AT)
ALLOCATIONS_AT = PastView("allocations_view", _ALLOCATIONS_AT)


def stock_history(sku: str, after: int, limit: int, source: ReadSource) -> History | None:
    """At most `limit` events about this SKU after the position `after`; None if nothing is known of it.

    Each has position, survenu_le, type, version, data, commande and cause.
    """
    return at_once(STOCK.page({"sku": sku, "after": after, "limit": limit}, source.reads, ANY)).value


def order_history(id_commande: str, after: int, limit: int, source: ReadSource) -> History | None:
    """At most `limit` events about this order, like `stock_history`."""
    parameters = {"id_commande": id_commande, "after": after, "limit": limit}
    return at_once(ORDER.page(parameters, source.reads, ANY)).value


def allocations_at(
    id_commande: str, at: datetime, source: ReadSource, *, wait_s: float = DEFAULT_WAIT_S
) -> list[Row]:
    """The lines of the order that had a lot at this instant, in the form of `views.allocations`.

    Waits, at most `wait_s` seconds, until the view has reached that instant. Raises like `PastView.rows`.
    """
    wanted = Freshness(wait_s=wait_s)
    return at_once(ALLOCATIONS_AT.rows({"id_commande": id_commande}, at, source.reads, wanted)).value


def stock_at(sku: str, at: datetime, source: ReadSource, *, wait_s: float = DEFAULT_WAIT_S) -> Row | None:
    """The stock of the SKU at this instant, in the form of `views.stock`; None if the SKU did not exist yet.

    Waits and raises like `allocations_at`.
    """
    return at_once(STOCK_AT.row({"sku": sku}, at, source.reads, Freshness(wait_s=wait_s))).value


def _history(rows: Sequence[Row]) -> Answer[History | None]:
    [first, *_] = rows
    if not first["connu"]:
        return Answer(None, first["fin"])
    events = [_event(row) for row in rows if row["position"] is not None]
    return Answer(History(events, first["horizon"]), first["fin"])


def _event(row: Row) -> Row:
    version, data = upcast(row["type"], row["version"], row["data"])
    names = ("position", "survenu_le", "type", "version", "data", "commande", "cause")
    return {name: row[name] for name in names} | {"version": version, "data": data}
