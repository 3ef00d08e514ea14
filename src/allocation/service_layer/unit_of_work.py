"""The unit of work as a handler sees it: the transaction under way."""

from types import TracebackType
from typing import Self

from allocation.adapters.write_model.unit_of_work import AbstractUnitOfWork

__all__ = ["AbstractUnitOfWork", "JoinedUnitOfWork"]


class JoinedUnitOfWork(AbstractUnitOfWork):
    """What the bus passes to a handler: the transaction under way, which `commit` does not end.

    So a handler reads as if the transaction were its own, although its cause and its reactions share it. If a
    handler has `opened` it and left without a commit, its changes must be undone.
    """

    def __init__(self, outer: AbstractUnitOfWork) -> None:
        self.produits = outer.produits
        self.opened = False
        self.committed = False

    @property
    def agreed(self) -> bool:
        """Whether the handler's changes may be kept."""
        return self.committed or not self.opened

    def __enter__(self) -> Self:
        self.opened, self.committed = True, False
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the transaction to the bus."""

    def commit(self) -> None:
        self.committed = True

    def rollback(self) -> None:
        self.committed = False
