"""How far each reader of the journal has come. The row's lock is also what makes it one reader at a time."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Double,
    Integer,
    String,
    Table,
    Text,
    false,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from allocation.adapters.journal import journal
from allocation.adapters.metadata import metadata
from allocation.domain.values import LONGUEUR_MAX

_sku = String(LONGUEUR_MAX, collation="C")


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
        *columns,
    )


projections = _checkpoint_table(
    "projections",
    Column("version", Integer, nullable=False, server_default="1"),
    Column("version_précédente", Integer),
    Column("position_précédente", BigInteger),
)
subscriptions = _checkpoint_table("subscriptions")

parked = Table(
    "parked",
    metadata,
    Column("lecteur", Text, primary_key=True),
    Column("sku", _sku, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("erreur", Text, nullable=False),
    Column("parqué_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

rebuilds = Table(
    "rebuilds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("jusqu_au_sku", _sku),
    Column("fait", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False),
    Column("débit_max", Integer),
    Column("demandé_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("mis_à_jour_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("erreur", Text),
)

rebuild_segments = Table(
    "rebuild_segments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("jusqu_au_sku", _sku, primary_key=True),
    Column("position", BigInteger, nullable=False),
)


class Checkpoints:
    """The checkpoints of one table, within the transaction of the connection."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        self._table = table

    def register(self, name: str, *, from_now: bool) -> None:
        """Create the checkpoint if there is none: at the journal's beginning, or at its present end."""
        end = select(func.coalesce(func.max(journal.c.position), 0)).scalar_subquery()
        position = end if from_now else 0
        self._connection.execute(
            insert(self._table).values(name=name, position=position).on_conflict_do_nothing()
        )

    def take(self, name: str, *, wait: bool) -> int | None:
        """The position, locked until the transaction ends; None if another reader holds it and not `wait`."""
        position: int | None = self._connection.scalar(
            select(self._table.c.position)
            .where(self._table.c.name == name)
            .with_for_update(skip_locked=not wait)
        )
        return position

    def position(self, name: str) -> int:
        """The position as this transaction sees it, without a lock."""
        position: int = self._connection.execute(
            select(self._table.c.position).where(self._table.c.name == name)
        ).scalar_one()
        return position

    def move(self, name: str, position: int) -> None:
        """Everything up to `position` is done, and nothing is wrong."""
        self._connection.execute(
            update(self._table)
            .where(self._table.c.name == name)
            .values({"position": position, "mis_à_jour_le": func.now(), "erreur": None})
        )

    def note_failure(self, name: str, reason: str) -> None:
        """Say beside the checkpoint why its reader does not go on."""
        self._connection.execute(
            update(self._table)
            .where(self._table.c.name == name)
            .values({"mis_à_jour_le": func.now(), "erreur": reason})
        )
