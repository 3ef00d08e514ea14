"""How events are laid out in the journal. No other SQL names a type, a compartment, or a field of an event.

The columns of a row say which units moved, and for which order line:

    sku  réf_lot  id_commande  ligne  quantité  de → vers

Columns that mean nothing for an event are null: `de` and `vers` if it moves nothing, the order if it is only
about a lot. `data` has all fields of the event, as readers rebuild it from there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.metadata import identifier, metadata
from allocation.domain.events import Event
from allocation.domain.ledger import Compartiment

journal = Table(
    "journal",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("version", SmallInteger, nullable=False),
    Column("sku", identifier, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("survenu_le", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("commande", Text),
    Column("cause", Uuid),
    Column("réf_lot", identifier),
    Column("id_commande", identifier),
    Column("ligne", identifier),
    Column("quantité", Integer),
    Column("de", Text),
    Column("vers", Text),
)

COLUMNS = ("réf_lot", "id_commande", "ligne", "quantité", "de", "vers")

# Whether a row is only about a lot, in the form that the index of these events needs.
OF_LOT_ALONE = "id_commande IS NULL"
# The arrival of the lot, which is in events that are only about a lot.
ETA = f"CASE WHEN {OF_LOT_ALONE} THEN (data ->> 'eta')::date END"


class EventRows(NamedTuple):
    """Events for SQL: `relation` goes after FROM, once, and has the journal's columns."""

    relation: str
    parameters: Sequence[object]


def columns_of(event: Event) -> Mapping[str, Any]:
    """The values of COLUMNS for this event."""
    fields, mouvement = vars(event), event.mouvement
    about = {name: fields.get(name) for name in ("réf_lot", "id_commande", "ligne", "quantité")}
    if mouvement is None:
        return about
    return about | {"quantité": mouvement.quantité, "de": mouvement.de, "vers": mouvement.vers}


def given(events: Sequence[Event]) -> EventRows:
    """These events as rows of the journal, but without positions."""
    rows = [{"sku": event.sku, **columns_of(event), "data": vars(event)} for event in events]
    return EventRows("json_populate_recordset(NULL::journal, %s) AS event", (as_json(rows),))


def between(types: Iterable[type[Event]], first: int, last: int) -> EventRows:
    """The journal's events of these types from one position to another."""
    found = "SELECT * FROM journal WHERE position BETWEEN %s AND %s AND type = ANY(%s)"
    return EventRows(f"({found}) AS event", (first, last, names(types)))


def names(types: Iterable[type[Event]]) -> list[str]:
    """The names of the types in the journal."""
    return [each.__name__ for each in types]


def of_types(*types: type[Event]) -> str:
    """SQL: whether a row is an event of one of these types."""
    return f"type IN ({', '.join(map(literal, types))})"


def literal(event_type: type[Event]) -> str:
    """SQL: the value of `type` for these events."""
    return f"'{event_type.__name__}'"


def entering(compartment: Compartiment) -> str:
    """SQL: how many units a row moves into the compartment of its lot; negative if they leave it."""
    return f"(CASE '{compartment}' WHEN vers THEN quantité WHEN de THEN - quantité ELSE 0 END)"


def moves(compartment: Compartiment) -> str:
    """SQL: whether a row moves units into the compartment or out of it."""
    return f"'{compartment}' IN (de, vers)"


def balances_of_lots(events: str) -> str:
    """SELECT: `sku`, `réf_lot`, and for each compartment the units in it after these rows of the journal.

    For `hors_stock`, that is a negative number: what went out less what came in.
    """
    sums = ", ".join(f"sum({entering(each)})::bigint AS {each}" for each in Compartiment)
    return f"SELECT sku, réf_lot, {sums} FROM {events} WHERE de IS NOT NULL GROUP BY sku, réf_lot"  # noqa: S608


def balances_of_lines(events: str) -> str:
    """SELECT: for each line and each lot that it ever had, its units there (`alloué`) and in all."""
    line = "sku, id_commande, ligne, réf_lot"
    return f"""
        SELECT {line}, sum({entering(Compartiment.ALLOUÉ)})::bigint AS alloué, max(quantité) AS quantité
        FROM {events} WHERE id_commande IS NOT NULL AND de IS NOT NULL GROUP BY {line}
    """  # noqa: S608 - our own text


Index("journal_sku_idx", journal.c.sku, journal.c.position)
Index(
    "journal_id_commande_idx",
    journal.c.id_commande,
    journal.c.position,
    postgresql_where=text("id_commande IS NOT NULL"),
)
Index(
    "journal_réf_lot_idx",
    journal.c.réf_lot,
    journal.c.sku,
    journal.c.position,
    postgresql_where=text(OF_LOT_ALONE),
)
