"""From the journal to the read models and to subscriptions."""

from allocation.adapters.journal.rows import RecordedEvent
from allocation.projections.delivery import REACTION, EventHandler, Projection, Subscription, delivered

__all__ = [
    "REACTION",
    "EventHandler",
    "Projection",
    "RecordedEvent",
    "Subscription",
    "delivered",
]
