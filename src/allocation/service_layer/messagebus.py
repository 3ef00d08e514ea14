"""The message bus: one transaction for a command and everything that must happen with it.

    handle(command) ── retry ──▶ with uow: handler, then the reactions to its events, then theirs … commit
                                                                   └▶ after the commit: `after_commit`

Nothing that two calls of `handle` share is ever changed: any number of threads may call it.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from tenacity import Retrying

from allocation.domain.commands import Command
from allocation.domain.events import Event
from allocation.service_layer.unit_of_work import JoinedUnitOfWork, JournalledUnitOfWork

U = TypeVar("U", bound=JournalledUnitOfWork)

Message: TypeAlias = Command | Event
CommandHandlers: TypeAlias = Mapping[type[Command], Callable[..., Any]]
Reactions: TypeAlias = Mapping[type[Event], Sequence[Callable[..., Any]]]


class Results(list[Any]):
    """What the command's handler returned, with the committed events and their last position."""

    def __init__(self, returned: Sequence[Any], events: Sequence[Event], position: int | None) -> None:
        super().__init__(returned)
        self.events = tuple(events)
        self.position = position


class MessageBus(Generic[U]):
    """Answers commands; made by `bootstrap`."""

    def __init__(
        self,
        new_uow: Callable[[], U],
        *,
        command_handlers: CommandHandlers,
        reactions: Reactions,
        retrying: Retrying,
        after_commit: Callable[[int], None],
    ) -> None:
        self._new_uow = new_uow
        self._command_handlers = command_handlers
        self._reactions = reactions
        self._retrying = retrying
        self._after_commit = after_commit

    @property
    def uow(self) -> U:
        """A new unit of work."""
        return self._new_uow()

    def handle(self, message: Message) -> Results:
        """Carry the message out in one transaction; the results of the command's handler.

        Conflicts with other writers and passing outages are tried again, a bounded number of times. Raises
        what the handler raises, VersionConflict or StorageUnavailable; nothing has changed then, save that
        after StorageUnavailable during a commit the outcome is unknown: the same command again tells.
        """
        results = self._retrying(self._handle_once, message)
        if results.position is not None:
            self._after_commit(results.position)
        return results

    def _handle_once(self, message: Message) -> Results:
        uow = self.uow
        returned: list[Any] = []
        agreed = True
        with uow:
            queue = deque([message])
            while queue:
                current = queue.popleft()
                for handler in self._handlers(current):
                    joined = JoinedUnitOfWork(uow)
                    result = handler(current, joined)
                    agreed = agreed and joined.agreed
                    if isinstance(current, Command):
                        returned.append(result)
                queue.extend(uow.collect_new_events())
            if agreed:
                uow.commit()
        return Results(returned, uow.events, uow.position)

    def _handlers(self, message: Message) -> Sequence[Callable[..., Any]]:
        if isinstance(message, Event):
            return self._reactions.get(type(message), ())
        return (self._command_handlers[type(message)],)
