"""The state of rebuilds, stored so that any process can resume one where another left off."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Double,
    Integer,
    Table,
    Text,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from allocation.adapters.postgresql.installation import advisory_lock
from allocation.adapters.postgresql.metadata import identifier, metadata

# A limit above this many rows or events a second is no limit.
DÉBIT_MAX = 1_000_000_000

# An arbitrary number, like that of the journal's lock.
_REQUESTS_LOCK = 5_274_190_664
_HOLD_REQUESTS = text(f"SELECT {advisory_lock(f'hashtextextended(:name, {_REQUESTS_LOCK})')}")

# The write model, the whole journal with its archive, or the newest snapshot and the events after it.
RebuildSource: TypeAlias = Literal["model", "journal", "snapshot"]

rebuilds = Table(
    "rebuilds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("jusqu_au_sku", identifier),
    Column("fait", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False),
    Column("débit_max", Integer),
    Column("pas_avant", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("demandé_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("mis_à_jour_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("erreur", Text),
)

rebuild_segments = Table(
    "rebuild_segments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("jusqu_au_sku", identifier, primary_key=True),
    Column("position", BigInteger, nullable=False),
)


@dataclass(frozen=True)
class RebuildState:
    """How far a rebuild has come: `fait` of about `total` rows or events are done.

    `position` is the journal position of the table under construction and, while it is filled from the write
    model, `jusqu_au_sku` is its last SKU so far. The next step is due in `repos_s` seconds. `erreur` says
    what holds the rebuild up, or why it has failed.
    """

    name: str
    version: int
    source: RebuildSource
    phase: str
    position: int
    jusqu_au_sku: str | None
    fait: int
    total: int
    débit_max: int | None
    demandé_le: datetime
    mis_à_jour_le: datetime
    erreur: str | None
    repos_s: float

    @property
    def under_way(self) -> bool:
        """Whether it has steps left to do."""
        return self.phase not in {"done", "failed"}


class Segments:
    """The ranges of SKUs that were copied from the write model, each with the journal's position then."""

    def __init__(self, rows: Sequence[tuple[str, int]]) -> None:
        self._last_skus = [sku for sku, _ in rows]
        self._positions = [position for _, position in rows]

    @property
    def first_position(self) -> int:
        """The position after which the journal has events that some segment lacks; 0 without segments."""
        return min(self._positions, default=0)

    def include(self, sku: str, position: int) -> bool:
        """Whether the segment of the event's SKU already contains the event's effect."""
        # A SKU after the last segment was created after the copy of its range.
        index = bisect_left(self._last_skus, sku)
        return index < len(self._positions) and position <= self._positions[index]


class Rebuilds:
    """The rebuilds, within the transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def hold_requests(self, name: str) -> None:
        """Make others who begin or undo a rebuild of this name wait for the end of the transaction."""
        self._connection.execute(_HOLD_REQUESTS, {"name": name})

    def start(self, name: str, **values: Any) -> None:
        """Begin a rebuild, which replaces any earlier one of this name."""
        self._connection.execute(delete(rebuild_segments).where(rebuild_segments.c.name == name))
        self._connection.execute(delete(rebuilds).where(rebuilds.c.name == name))
        self._connection.execute(insert(rebuilds).values(name=name, **values))

    def take(self, name: str, *, wait: bool) -> RebuildState | None:
        """The rebuild, locked until the transaction ends.

        None if there is none or, unless `wait`, if somebody else holds it.
        """
        return self._state(name, with_lock=True, skip_locked=not wait)

    def look_at(self, name: str) -> RebuildState | None:
        """The rebuild, or None."""
        return self._state(name)

    def get(self, name: str) -> RebuildState:
        """The rebuild. Raises LookupError if there is none."""
        state = self.look_at(name)
        if state is None:
            raise LookupError(f"there is no rebuild of {name}")
        return state

    def change(self, name: str, **values: Any) -> None:
        """Set these columns, and clear the error; the other columns stay as they are."""
        values = {"erreur": None, "mis_à_jour_le": func.clock_timestamp(), **values}
        self._connection.execute(update(rebuilds).where(rebuilds.c.name == name).values(values))

    def fail(self, name: str) -> None:
        """Mark the rebuild as failed, so that no further step is done; the noted error stays."""
        self._connection.execute(update(rebuilds).where(rebuilds.c.name == name).values(phase="failed"))

    def rest(self, name: str, seconds: float) -> None:
        """Put off the next step by `seconds`."""
        not_before = func.clock_timestamp() + timedelta(seconds=seconds)
        self._connection.execute(update(rebuilds).where(rebuilds.c.name == name).values(pas_avant=not_before))

    def add_segment(self, name: str, last_sku: str, position: int) -> None:
        """Note that the SKUs after the previous segment, up to `last_sku`, were copied at this position."""
        self._connection.execute(
            insert(rebuild_segments).values(name=name, jusqu_au_sku=last_sku, position=position)
        )

    def segments(self, name: str) -> Segments:
        """All segments, in the order of their SKUs."""
        c = rebuild_segments.c
        rows = self._connection.execute(
            select(c.jusqu_au_sku, c.position).where(c.name == name).order_by(c.jusqu_au_sku)
        )
        return Segments([(sku, position) for sku, position in rows])

    def _state(self, name: str, *, with_lock: bool = False, skip_locked: bool = False) -> RebuildState | None:
        c = rebuilds.c
        rest = func.greatest(func.extract("epoch", c.pas_avant - func.clock_timestamp()), 0).cast(Double)
        columns = [c[field.name] for field in fields(RebuildState) if field.name in c]
        query = select(*columns, rest).where(c.name == name)
        if with_lock:
            query = query.with_for_update(skip_locked=skip_locked)
        row: Sequence[Any] | None = self._connection.execute(query).one_or_none()
        return None if row is None else RebuildState(*row)
