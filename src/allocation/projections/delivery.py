"""How events reach their handler: declared next to it, and carried out by whoever reads the routing table.

- A **reaction** runs in the transaction of its cause. It is called with `(event, uow)`.
- A **projection** handler writes its read model in the transaction that moves the checkpoint, so its effect
  happens exactly once. It is called with `(events, connection)`: all consecutive events that it handles at
  once. Or it is declared `in_sql`, as one statement over the rows of such events.
- A **subscription** handler has effects outside, at least once for each event. It is called with
  `(batch, connection)`: recorded events, no more of them than may be delivered twice. If the subscription is
  declared `outside`, it is called with `(batch, database)` instead, while no transaction is open.
  `bootstrap` fills in further parameters by their names.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import Connection, Table

from allocation.adapters.journal.ledger import EventRows, given
from allocation.adapters.postgresql.driver_statements import executed
from allocation.domain.events import Event

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Reaction:
    """Runs in the transaction of its cause: both happen, or neither does."""


@dataclass(frozen=True)
class Projection:
    """A read model: a table with a `sku` column, kept up to date by the handlers declared with this value.

    Raise `version` whenever the table or a handler changes: the read model is then rebuilt automatically,
    while the old table stays in use. `truth`, if given, is a SELECT over the write model for the SKUs after
    `:after` up to `:until`. It gives the rows that the table should hold: `rebuild` fills the table with
    them, and `verify` compares it with them.
    """

    table: Table
    truth: str | None = None
    version: int = 1

    @property
    def name(self) -> str:
        """The name of the projection, which is that of its table."""
        return self.table.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that handlers fill: all except identity columns, which PostgreSQL fills."""
        return tuple(column.name for column in self.table.columns if column.identity is None)


@dataclass(frozen=True)
class Subscription:
    """An effect outside of the database; it starts with the events after its first registration.

    At most `batch` events are delivered together: if something fails after the effect, all of them are
    delivered again. An effect that takes long happens `outside` of transactions: the events are claimed, then
    delivered, then confirmed. Where it is better to have many events at once, a worker waits until none has
    come for `quiet_s` seconds, but not without end if they keep coming.
    """

    name: str
    batch: int = 1
    outside: bool = False
    quiet_s: float = 0.0


Delivery: TypeAlias = Reaction | Projection | Subscription

REACTION = Reaction()

# The handler of each type of event.
Routes: TypeAlias = Mapping[type[Event], Callable[..., Any]]


class EventHandler(Generic[P, R_co]):
    """A function, with how events are delivered to it; calling it calls the function."""

    def __init__(self, function: Callable[P, R_co], delivery: Delivery) -> None:
        self.function = function
        self.delivery = delivery
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.function(*args, **kwargs)


def delivered(by: Delivery) -> Callable[[Callable[P, R_co]], EventHandler[P, R_co]]:
    """Declare how events are delivered to a handler."""
    return lambda function: EventHandler(function, by)


class SqlHandler(EventHandler[[Sequence[Event], Connection], None]):
    """A projection's handler that is one SQL statement: `statement` makes it from the name of a relation.

    That relation has the events, as rows of the journal.
    """

    def __init__(self, statement: Callable[[str], str], delivery: Projection) -> None:
        super().__init__(self._over_given, delivery)
        self._statement = statement
        functools.update_wrapper(self, statement)

    def over(self, events: EventRows, connection: Connection) -> None:
        """Execute the statement over these events."""
        executed(connection, self._statement(events.relation), tuple(events.parameters))

    def _over_given(self, events: Sequence[Event], connection: Connection) -> None:
        self.over(given(events), connection)


def in_sql(by: Projection) -> Callable[[Callable[[str], str]], SqlHandler]:
    """Declare a handler as one statement, which names the relation of the events once, after FROM.

    The relation has rows of the journal. The statement must do with a batch of events what it would do with
    them one after the other.
    """
    return lambda statement: SqlHandler(statement, by)
