"""What the program does: commands and events through the message bus, one transaction each."""

from allocation.service_layer.group_commit import GaveUp, QueueFull
from allocation.service_layer.messagebus import MessageBus
from allocation.service_layer.results import Outcome, Results, Réallocation
from allocation.service_layer.unit_of_work import AbstractUnitOfWork

__all__ = [
    "AbstractUnitOfWork",
    "GaveUp",
    "MessageBus",
    "Outcome",
    "QueueFull",
    "Results",
    "Réallocation",
]
