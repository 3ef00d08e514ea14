"""Stretches of the journal that SQL handlers can process without the program reading the events in them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from allocation.adapters.journal.ledger import EventRows, between
from allocation.adapters.journal.rows import EventKind
from allocation.domain.events import Event
from allocation.projections.delivery import Routes, SqlHandler


class Stretch(NamedTuple):
    """A handler, and all events of a batch that are for it, from one position to another."""

    handler: SqlHandler
    events: EventRows


def stretches(kinds: Iterable[EventKind], routes: Routes) -> Sequence[Stretch] | None:
    """One stretch for each handler, in order, for events of these `kinds`.

    None if the program must read the events: a handler is not in SQL, some events were stored with another
    version of their fields than today's, or the events of two handlers alternate.
    """
    types = {each.__name__: each for each in routes}
    ends: dict[SqlHandler, tuple[int, int]] = {}
    for kind in kinds:
        handler = routes[types[kind.type]]
        if not isinstance(handler, SqlHandler) or kind.version != types[kind.type].version:
            return None
        first, last = ends.get(handler, (kind.first, kind.last))
        ends[handler] = min(first, kind.first), max(last, kind.last)
    in_order = sorted(ends.items(), key=lambda each: each[1])
    if any(before[1] > after[0] for (_, before), (_, after) in pairwise(in_order)):
        return None
    return [Stretch(handler, between(_types_of(handler, routes), *at)) for handler, at in in_order]


def _types_of(handler: SqlHandler, routes: Routes) -> list[type[Event]]:
    return [event_type for event_type, of_type in routes.items() if of_type is handler]
