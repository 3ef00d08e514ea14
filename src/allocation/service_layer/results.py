"""What comes of a command: what its handler returned, and the events that it caused."""

from dataclasses import dataclass
from typing import Any

from allocation.domain.commands import Command
from allocation.domain.events import Event


@dataclass(frozen=True)
class Unfinished:
    """What a handler returns that has done a part: its result, and the command that goes on with the rest."""

    result: list[Any]
    then: Command


class Results(list[Any]):
    """What the command's handler returned, with the committed events and the position of the last of them.

    A view that has come to `position` reflects the command. A repeated one has no events, and `handle` gives
    it the position of its first answer. `recalled` are events of before that answer it, too. `then` goes on
    with what one transaction was not meant to do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: tuple[Event, ...] = ()
        self.recalled: tuple[Event, ...] = ()
        self.position: int | None = None
        self.then: Command | None = None

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
        self.position = rest.position or self.position
        self.then = rest.then
