"""How far each reader of the journal has come. The lock on its row also ensures one worker at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Integer,
    Table,
    Text,
    delete,
    false,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from allocation.adapters.journal.ledger import journal
from allocation.adapters.postgresql.driver_statements import executed
from allocation.adapters.postgresql.metadata import identifier, metadata


def _checkpoint_table(name: str, *columns: Column[Any]) -> Table:
    return Table(
        name,
        metadata,
        Column("name", Text, primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("mis_à_jour_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("erreur", Text),
        Column("en_pause", Boolean, nullable=False, server_default=false()),
        Column("appliqués", BigInteger, nullable=False, server_default="0"),
        Column("débit", Double, nullable=False, server_default="0"),
        Column("échecs", Integer, nullable=False, server_default="0"),
        Column("attendu_avant", DateTime(timezone=True)),
        *columns,
    )


projections = _checkpoint_table(
    "projections",
    Column("version", Integer, nullable=False, server_default="1"),
    Column("version_précédente", Integer),
    Column("position_précédente", BigInteger),
)
subscriptions = _checkpoint_table("subscriptions", Column("réservé_jusqu_au", DateTime(timezone=True)))

parked = Table(
    "parked",
    metadata,
    Column("lecteur", Text, primary_key=True),
    Column("sku", identifier, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("erreur", Text, nullable=False),
    Column("parqué_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# A reader's rate is an average over about this many seconds.
RATE_SPAN_S = 2.0
# What is so old or so little counts as nothing: PostgreSQL refuses to make a number that is too small for it,
# and a reader may have had nothing to do for days.
FORGOTTEN_AFTER_S = 60
LEAST_RATE = 1e-9

# The statements of every batch are text for the driver, which prepares them.
_SECONDS = "greatest(extract(epoch FROM clock_timestamp() - mis_à_jour_le)::double precision, 0.001)"
_OLD_SHARE = f"CASE WHEN {_SECONDS} > {FORGOTTEN_AFTER_S} THEN 0 ELSE exp(- {_SECONDS} / {RATE_SPAN_S}) END"
# What is left of a reader's rate by now.
RATE_NOW = f"CASE WHEN débit > {LEAST_RATE} THEN débit * {_OLD_SHARE} ELSE 0 END"
_MOVE = f"""
    UPDATE {{table}} SET
        position = %(position)s, mis_à_jour_le = clock_timestamp(), erreur = NULL, échecs = 0,
        appliqués = appliqués + %(applied)s,
        débit = {RATE_NOW} + %(applied)s / {_SECONDS} * (1 - ({_OLD_SHARE}))
    WHERE name = %(name)s
"""  # noqa: S608 - our own text
_PARKED_SKUS = "SELECT DISTINCT sku FROM parked WHERE lecteur = %s"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a reader: its position; whether it is paused (`en_pause`); why it is or fails (`erreur`).

    For a read model, `version` is that of its table; the values called previous are those of the replaced
    table.
    """

    position: int
    en_pause: bool
    erreur: str | None = None
    version: int = 1
    version_précédente: int | None = None
    position_précédente: int | None = None


class Checkpoints:
    """The checkpoints of one table, within the transaction of the connection."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        self._table = table
        self._columns = ", ".join(field.name for field in fields(Checkpoint) if field.name in table.c)

    def register(self, name: str, *, from_now: bool, **values: int) -> None:
        """Create the checkpoint if there is none: at the journal's beginning, or at its present end."""
        end = select(func.coalesce(func.max(journal.c.position), 0)).scalar_subquery()
        self._connection.execute(
            insert(self._table)
            .values(name=name, position=end if from_now else 0, **values)
            .on_conflict_do_nothing()
        )

    def take(self, name: str, *, wait: bool) -> Checkpoint | None:
        """The checkpoint, locked until the transaction ends.

        None if there is none or, unless `wait`, if another worker holds it.
        """
        return self._checkpoint(name, "FOR UPDATE" if wait else "FOR UPDATE SKIP LOCKED")

    def look_at(self, name: str) -> Checkpoint | None:
        """The checkpoint as this transaction sees it, without a lock."""
        return self._checkpoint(name, "")

    def move(self, name: str, position: int, *, applied: int) -> None:
        """Note that everything up to `position` is done, without trouble; `applied` events were read."""
        values = {"name": name, "position": position, "applied": applied}
        executed(self._connection, _MOVE.format(table=self._table.name), values)

    def note_failures(self, name: str, reason: str, failures: int) -> None:
        """Note why the reader does not go on, and how often it has failed in a row."""
        self._update(name, erreur=reason, échecs=failures)

    def claim(self, name: str, seconds: float) -> datetime | None:
        """Reserve the next events for the caller, for `seconds`; None if they are already claimed."""
        end = self._table.c.réservé_jusqu_au
        now, later = func.clock_timestamp(), func.clock_timestamp() + timedelta(seconds=seconds)
        # A claim that would last longer was made before the clock was corrected.
        return self._set_claim(name, later, or_(end.is_(None), not_(end.between(now, later))))

    def renew(self, name: str, claim: datetime, seconds: float) -> datetime | None:
        """Extend the claim to `seconds` from now; return the new claim, or None if the old one is lost."""
        later = func.clock_timestamp() + timedelta(seconds=seconds)
        return self._set_claim(name, later, self._table.c.réservé_jusqu_au == claim)

    def release(self, name: str, claim: datetime) -> bool:
        """Give up the claim; return whether it still held."""
        still_kept = self._table.c.réservé_jusqu_au == claim
        released = update(self._table).where(self._table.c.name == name, still_kept)
        return self._connection.execute(released.values(réservé_jusqu_au=None)).rowcount == 1

    def promise(self, name: str, seconds: float) -> None:
        """Promise that the reader's thread will show another sign of life within `seconds`."""
        self._update(name, attendu_avant=func.clock_timestamp() + timedelta(seconds=seconds))

    def pause(self, name: str, reason: str) -> None:
        """Pause the reader, for this reason."""
        self._update(name, erreur=reason, en_pause=True)

    def resume(self, name: str) -> None:
        """Resume the reader, and clear its error."""
        self._update(name, erreur=None, échecs=0, en_pause=False)

    def change(self, name: str, **values: int | None) -> None:
        """Set other columns."""
        self._update(name, **values)

    def _update(self, name: str, **values: Any) -> None:
        self._connection.execute(update(self._table).where(self._table.c.name == name).values(values))

    def _set_claim(self, name: str, until: Any, condition: ColumnElement[bool]) -> datetime | None:
        end = self._table.c.réservé_jusqu_au
        claimed = update(self._table).where(self._table.c.name == name, condition)
        claim: datetime | None = self._connection.scalar(
            claimed.values(réservé_jusqu_au=until).returning(end)
        )
        return claim

    def _checkpoint(self, name: str, lock: str) -> Checkpoint | None:
        query = f"SELECT {self._columns} FROM {self._table.name} WHERE name = %s {lock}"  # noqa: S608 - our own
        row = executed(self._connection, query, (name,)).fetchone()
        return None if row is None else Checkpoint(*row)


def parked_by_sku(connection: Connection) -> Sequence[Any]:
    """By reader and SKU: how many events are parked, the first position, its reason, and since when."""
    c = parked.c
    first_error = func.array_agg(aggregate_order_by(c.erreur, c.position))[1]
    query = select(
        c.lecteur, c.sku, func.count(), func.min(c.position), first_error, func.min(c.parqué_le)
    ).group_by(c.lecteur, c.sku)
    return connection.execute(query.order_by(c.lecteur, c.sku)).all()


class ParkedEvents:
    """The parked events of one reader, within the transaction of the connection."""

    def __init__(self, connection: Connection, reader: str) -> None:
        self._connection = connection
        self._reader = reader

    def skus(self) -> frozenset[str]:
        """The SKUs that have parked events."""
        return frozenset(sku for (sku,) in executed(self._connection, _PARKED_SKUS, (self._reader,)))

    def positions(self, sku: str) -> Sequence[int]:
        """The positions of the SKU's parked events, oldest first."""
        query = select(parked.c.position).where(self._of(sku)).order_by(parked.c.position)
        return self._connection.scalars(query).all()

    def add(self, sku: str, positions: Sequence[int], erreur: str) -> None:
        """Park events, with the reason."""
        if positions:
            rows = [{"sku": sku, "position": p, "lecteur": self._reader, "erreur": erreur} for p in positions]
            self._connection.execute(insert(parked).on_conflict_do_nothing(), rows)

    def remove(self, sku: str) -> int:
        """Unpark the SKU's events; return their number."""
        return self._connection.execute(delete(parked).where(self._of(sku))).rowcount

    def clear(self) -> None:
        """Unpark all events, as the table that they were meant for is gone."""
        self._connection.execute(delete(parked).where(parked.c.lecteur == self._reader))

    def hand_over(self, reader: str) -> None:
        """Give the parked events to another reader, replacing its own."""
        ParkedEvents(self._connection, reader).clear()
        self._connection.execute(
            update(parked).where(parked.c.lecteur == self._reader).values(lecteur=reader)
        )

    def note(self, sku: str, erreur: str) -> None:
        """Note why the first of the SKU's events still can't be applied."""
        first = select(func.min(parked.c.position)).where(self._of(sku)).scalar_subquery()
        self._connection.execute(
            update(parked).where(self._of(sku), parked.c.position == first).values(erreur=erreur)
        )

    def _of(self, sku: str) -> Any:
        return (parked.c.lecteur == self._reader) & (parked.c.sku == sku)
