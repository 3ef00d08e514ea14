"""The unit of work that a handler sees: the transaction under way."""

from types import TracebackType
from typing import Self

from allocation.adapters.write_model.unit_of_work import AbstractUnitOfWork

__all__ = ["AbstractUnitOfWork", "JoinedUnitOfWork"]


class JoinedUnitOfWork(AbstractUnitOfWork):
    """What the bus hands to a handler: the transaction under way, in which a commit is a vote.

    So a handler reads as if the transaction was its own, while its causes and its reactions share it.
    """

    def __init__(self, outer: AbstractUnitOfWork) -> None:
        self.produits = outer.produits
        self.agreed = True

    def __enter__(self) -> Self:
        self.agreed = False
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the transaction to the bus."""

    def commit(self) -> None:
        self.agreed = True

    def rollback(self) -> None:
        self.agreed = False
