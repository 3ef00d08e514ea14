"""The use cases, and the message bus that carries commands to them, in transactions."""

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
