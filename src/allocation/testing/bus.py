"""A message bus without a database."""

from collections.abc import Callable
from functools import partial

from allocation.service_layer import bootstrap
from allocation.service_layer.messagebus import CommandHandlers, MessageBus, Reactions
from allocation.testing.fakes import FakeOriginalPositions, FakeStore, FakeUnitOfWork


def in_memory_bus(
    store: FakeStore | None = None,
    *,
    command_handlers: CommandHandlers = bootstrap.COMMAND_HANDLERS,
    reactions: Reactions | None = None,
    after_commit: Callable[[int], None] | None = None,
) -> MessageBus[FakeUnitOfWork]:
    """A bus on this store, or on an empty one (`bus.uow.store`), that behaves like one on PostgreSQL.

    Handlers and reactions are those of `bootstrap` unless others are given. There are no read models;
    `after_commit` is called with the position of each answer.
    """
    store = store or FakeStore()
    return MessageBus(
        partial(FakeUnitOfWork, store),
        command_handlers=command_handlers,
        reactions=bootstrap.reactions() if reactions is None else reactions,
        after_commit=after_commit,
        original_positions=FakeOriginalPositions(store),
    )
