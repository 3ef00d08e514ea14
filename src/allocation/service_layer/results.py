"""What comes of a command: what its handler returned, and the events that it caused."""

from dataclasses import dataclass
from typing import Any

from allocation.adapters.journal.tokens import ConsistencyToken
from allocation.domain.commands import Command
from allocation.domain.events import Event


@dataclass(frozen=True)
class Unfinished:
    """What a handler returns that has done a part: its result, and the command that goes on with the rest."""

    result: list[Any]
    then: Command


class Results(list[Any]):
    """What the command's handler returned, with the committed events and the position of the last of them.

    A view that has come to `position` reflects the command; `token` says it of this history of the database
    alone. A repeated one has no events, and `handle` gives it the position and the mark of its first answer.
    `recalled` are events of before that answer it, too. `then` goes on with what one transaction is too
    small for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: tuple[Event, ...] = ()
        self.recalled: tuple[Event, ...] = ()
        self.position: int | None = None
        self.mark: str | None = None
        self.then: Command | None = None

    @property
    def token(self) -> ConsistencyToken:
        """What a read sends back to see the command's effect."""
        return ConsistencyToken(self.position or 0, self.mark)

    @property
    def told(self) -> tuple[Event, ...]:
        """All events that answer the command."""
        return (*self.events, *self.recalled)

    def add(self, returned: Any) -> None:
        """Take in what a handler returned."""
        if isinstance(returned, Unfinished):
            self.append(returned.result)
            self.then = returned.then
        else:
            self.append(returned)

    def go_on(self, rest: "Results") -> None:
        """Take in what has come of `then`, whose handler returns a list, too."""
        self[0] += rest[0]
        self.events += rest.events
        if rest.position is not None:
            self.position, self.mark = rest.position, rest.mark
        self.then = rest.then
