"""From the journal to the read models and to subscriptions."""

from allocation.adapters.journal.rows import RecordedEvent
from allocation.projections.delivery import (
    REACTION,
    EventHandler,
    Projection,
    SqlHandler,
    Subscription,
    delivered,
    in_sql,
)

__all__ = [
    "REACTION",
    "EventHandler",
    "Projection",
    "RecordedEvent",
    "SqlHandler",
    "Subscription",
    "delivered",
    "in_sql",
]
