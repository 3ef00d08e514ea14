"""What declares a use case: a command's handler, with all that others must know of the command beside it.

The bus reads here what to load and where a repetition finds its position, the group commit what to keep in
order: none of them knows a command by name.
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

    Commands with the same `key` keep their order. `needs` is what will be asked of the repository, so that a
    whole batch of commands is loaded at once: what is not said there is loaded all the same, by round trips
    of its own. `first_position` finds, for a command that was carried out before, the position in the journal
    that its first answer had.
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
    """Declare the use case that a handler carries out."""
    return lambda handler: UseCase(command, handler, key, needs, first_position)
