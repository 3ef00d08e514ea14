"""In-memory fakes of the ports, for tests of code that uses allocation.

The same contract tests run over the fakes and over PostgreSQL; whatever a fake allows, PostgreSQL allows.
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
