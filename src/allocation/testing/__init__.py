"""Fakes of the ports, for tests of code that uses allocation: in memory, and held to the same contracts.

The contracts run over them and over PostgreSQL alike; what a fake allows, the real one allows.
"""

from allocation.testing.bus import in_memory_bus
from allocation.testing.fakes import (
    FakeJournal,
    FakeNotifications,
    FakeOriginalPositions,
    FakeRepository,
    FakeStore,
    FakeUnitOfWork,
)

__all__ = [
    "FakeJournal",
    "FakeNotifications",
    "FakeOriginalPositions",
    "FakeRepository",
    "FakeStore",
    "FakeUnitOfWork",
    "in_memory_bus",
]
