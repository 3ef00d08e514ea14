"""Events as an earlier program would have stored them: it had another name for their quantity."""

from collections.abc import Callable

import pytest

from allocation.adapters.journal.serialization import UPCASTS, EventFields
from allocation.domain.events import Event


def store_as_before(
    sql: Callable[..., object], monkeypatch: pytest.MonkeyPatch, event_type: type[Event]
) -> None:
    """Give the stored events of this type the form of an earlier version, and this program the upcast."""
    name, today = event_type.__name__, event_type.version
    sql(
        "UPDATE journal SET version = version - 1,"
        " data = data - 'quantité' || jsonb_build_object('qty', data -> 'quantité')"
        " WHERE type = :type AND version = :today",
        type=name,
        today=today,
    )
    monkeypatch.setitem(UPCASTS, (name, today - 1), _qty_to_quantité)


def _qty_to_quantité(fields: EventFields) -> EventFields:
    return {name: value for name, value in fields.items() if name != "qty"} | {"quantité": fields["qty"]}
