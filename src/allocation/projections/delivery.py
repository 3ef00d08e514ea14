"""How an event handler is delivered: declared next to it, carried out by whoever reads the routing table.

- a **reaction** runs in the transaction of its cause: `(event, uow)`;
- a **projection** handler writes its read model in the transaction that moves the checkpoint, so its effect
  happens exactly once: `(events, connection)`, with all neighbouring events of its type at once; or it is
  `in_sql`, one statement over the rows of such events;
- a **subscription** handler has effects outside, at least once each: `(batch, connection)`, with recorded
  events, as many as may happen twice; or `(batch, database)`, while no transaction is open, if the
  subscription says so. Further parameters are filled in by `bootstrap`, by their names.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import Connection, Table

from allocation.adapters.journal.ledger import EventRows, given
from allocation.domain.events import Event

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Reaction:
    """In the transaction of the cause: both happen or neither does."""


@dataclass(frozen=True)
class Projection:
    """A read model: a table with a `sku` column, kept by the handlers that are delivered by this projection.

    `version` goes up whenever the table or a handler changes: the read model is then rebuilt by itself, while
    the old one serves. `truth`, if there is one, is a SELECT over the write model that gives the rows which
    the table should hold, for the SKUs after `:after` up to `:until`: what `rebuild` fills it with, and
    `verify` compares it with.
    """

    table: Table
    truth: str | None = None
    version: int = 1

    @property
    def name(self) -> str:
        """The name of the projection, which is its table's."""
        return self.table.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that handlers fill: all but those that PostgreSQL numbers."""
        return tuple(column.name for column in self.table.columns if column.identity is None)


@dataclass(frozen=True)
class Subscription:
    """An effect outside of the database, which starts with the events after its first registration.

    At most `batch` events are delivered together: when something fails after the effect, all of them are
    delivered again. What takes its time happens `outside` of transactions: events are claimed, delivered,
    and confirmed; and where it is better to have many events at once, a worker waits until none has come for
    `quiet_s` seconds, within reason.
    """

    name: str
    batch: int = 1
    outside: bool = False
    quiet_s: float = 0.0


Delivery: TypeAlias = Reaction | Projection | Subscription

REACTION = Reaction()

# Which handler gets which events.
Routes: TypeAlias = Mapping[type[Event], Callable[..., Any]]


class EventHandler(Generic[P, R_co]):
    """A function together with how it is delivered; calling it calls the function."""

    def __init__(self, function: Callable[P, R_co], delivery: Delivery) -> None:
        self.function = function
        self.delivery = delivery
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.function(*args, **kwargs)


def delivered(by: Delivery) -> Callable[[Callable[P, R_co]], EventHandler[P, R_co]]:
    """Declare how a handler is delivered."""
    return lambda function: EventHandler(function, by)


class SqlHandler(EventHandler[[Sequence[Event], Connection], None]):
    """A projection's handler that is one statement, of which `statement` is told where the events are."""

    def __init__(self, statement: Callable[[str], str], delivery: Projection) -> None:
        super().__init__(self._over_given, delivery)
        self._statement = statement
        functools.update_wrapper(self, statement)

    def over(self, events: EventRows, connection: Connection) -> None:
        """Carry out the statement over these events."""
        connection.exec_driver_sql(self._statement(events.relation), tuple(events.parameters))

    def _over_given(self, events: Sequence[Event], connection: Connection) -> None:
        self.over(given(events), connection)


def in_sql(by: Projection) -> Callable[[Callable[[str], str]], SqlHandler]:
    """Declare a handler by its statement, in which the events stand after FROM, once, as rows of the journal.

    What the statement makes of a batch must be what it makes of its events one after the other.
    """
    return lambda statement: SqlHandler(statement, by)
