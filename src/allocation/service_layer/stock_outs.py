"""The messages about stock-outs for the people who buy stock."""

from collections.abc import Sequence

from allocation.adapters.journal.rows import RecordedEvent
from allocation.adapters.notifications import Notification
from allocation.domain.events import RuptureDeStock


def notification_of(ruptures: Sequence[RecordedEvent[RuptureDeStock]]) -> Notification:
    """One message for one or more stock-outs, each of a different SKU."""
    first = ruptures[0]
    subject = (
        f"Rupture de stock : {first.event.sku}"
        if len(ruptures) == 1
        else f"Ruptures de stock : {len(ruptures)} articles"
    )
    return Notification(first.id, subject, "\n".join(_sentence(each.event) for each in ruptures))


def _sentence(event: RuptureDeStock) -> str:
    return (
        f"La commande {event.id_commande} demande {event.quantité} unités de {event.sku} ; "
        f"le lot le mieux fourni en a {event.quantité_disponible}."
    )
