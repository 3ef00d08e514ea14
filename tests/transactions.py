"""A stand-in for the write model: what the queue before it carries out, and when."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from allocation.adapters.postgresql.database import Locked
from allocation.adapters.write_model.repository import Waiting
from allocation.service_layer.group_commit import GroupCommit

# Makes a group commit with these limits.
Group: TypeAlias = Callable[..., GroupCommit[str]]


@dataclass
class Transactions:
    """A database that answers each command with its own name, held back until it is let go."""

    batches: list[list[str]] = field(default_factory=list)
    waits: list[Waiting] = field(default_factory=list)
    troubles: list[BaseException] = field(default_factory=list)
    poison: frozenset[str] = frozenset()
    locked: set[str] = field(default_factory=set)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    free: threading.Event = field(default_factory=threading.Event)
    at_most: int = 1000

    def transact(self, messages: Sequence[str], deadline: float, waiting: Waiting) -> list[str | Locked]:
        self.batches.append(list(messages))
        self.waits.append(waiting)
        trouble = self.troubles.pop(0) if self.troubles else None
        self.begun.release()
        assert self.free.wait(30)
        if trouble is not None:
            raise trouble
        if self.poison.intersection(messages):
            raise ZeroDivisionError("poison")
        if waiting is not Waiting.NOT_AT_ALL and self.locked.intersection(messages):
            raise Locked("by somebody")
        return [
            Locked("by somebody") if message in self.locked else message.upper()
            for message in messages[: self.at_most]
        ]


@dataclass
class Observations:
    sizes: list[int] = field(default_factory=list)
    retries: int = 0
    splits: int = 0

    def batch_answered(self, size: int, waited_s: float, transaction_s: float) -> None:
        assert waited_s >= 0
        assert transaction_s >= 0
        self.sizes.append(size)

    def transaction_retried(self) -> None:
        self.retries += 1

    def batch_split(self) -> None:
        self.splits += 1
