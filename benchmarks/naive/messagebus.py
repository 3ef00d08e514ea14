"""The message bus: a queue that the messages of one request go through, events after their commands."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.naive.commands import Command
from benchmarks.naive.events import Event
from benchmarks.naive.unit_of_work import SqlAlchemyUnitOfWork

logger = logging.getLogger(__name__)

Message: TypeAlias = Command | Event
CommandHandlers: TypeAlias = Mapping[type[Command], Callable[..., Any]]
EventHandlers: TypeAlias = Mapping[type[Event], Sequence[Callable[..., Any]]]


class MessageBus:
    """Hands each message to its handlers; a command's failure is the caller's, an event's is logged."""

    def __init__(
        self,
        uow: SqlAlchemyUnitOfWork,
        command_handlers: CommandHandlers,
        event_handlers: EventHandlers,
    ) -> None:
        self.uow = uow
        self._command_handlers = command_handlers
        self._event_handlers = event_handlers
        self.queue: list[Message] = []

    def handle(self, message: Message) -> None:
        """Carry out the message, and everything that follows from it."""
        self.queue = [message]
        while self.queue:
            current = self.queue.pop(0)
            if isinstance(current, Event):
                self._handle_event(current)
            else:
                self._handle_command(current)

    def _handle_command(self, command: Command) -> None:
        self._command_handlers[type(command)](command, self.uow)
        self.queue.extend(self.uow.collect_new_events())

    def _handle_event(self, event: Event) -> None:
        for handler in self._event_handlers[type(event)]:
            try:
                handler(event, self.uow)
                self.queue.extend(self.uow.collect_new_events())
            except Exception:
                logger.exception("handling %s failed", event)
