"""Declaring a use case: a command's handler, with everything that others must know about the command.

From the declaration, the bus learns what to load and where a repetition finds its position, and the group
commit learns which commands to keep in order. Neither knows any command by name.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from allocation.adapters.journal.original_positions import AbstractOriginalPositions
from allocation.adapters.write_model.repository import Needs
from allocation.adapters.write_model.unit_of_work import AbstractUnitOfWork
from allocation.domain.commands import Command

C = TypeVar("C", bound=Command)
R = TypeVar("R")


@dataclass(eq=False)
class UseCase(Generic[C, R]):
    """A handler with the declaration of its command; calling it calls the handler.

    Commands with the same `key` keep their order. `needs` says what the handler will ask of the repository,
    so that what a batch of commands needs is loaded at once; anything else is loaded in extra round trips.
    For a repeated command, `first_position` finds the journal position of its first answer.
    """

    command: type[C]
    handler: Callable[[C, AbstractUnitOfWork], R]
    key: Callable[[C], str]
    needs: Callable[[C], Needs]
    first_position: Callable[[C, AbstractOriginalPositions], int | None]

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.handler)

    def __call__(self, command: C, uow: AbstractUnitOfWork) -> R:
        return self.handler(command, uow)


def use_case(
    command: type[C],
    *,
    key: Callable[[C], str],
    needs: Callable[[C], Needs],
    first_position: Callable[[C, AbstractOriginalPositions], int | None],
) -> Callable[[Callable[[C, AbstractUnitOfWork], R]], UseCase[C, R]]:
    """Declare the use case of a handler."""
    return lambda handler: UseCase(command, handler, key, needs, first_position)
