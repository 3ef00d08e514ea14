"""The results of a command: what its handlers returned, and the events that it caused."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple, Self

from allocation.adapters.journal.tokens import ConsistencyToken
from allocation.domain.commands import Command
from allocation.domain.errors import Refus
from allocation.domain.events import Event
from allocation.domain.model import LigneDeCommande


class Outcome(Enum):
    """How a command that was carried out has ended."""

    DONE = auto()
    """Something has changed."""
    REPEATED = auto()
    """It had been done before, so nothing has changed."""
    REFUSED = auto()
    """It can't be served, and the journal says so."""


class Réallocation(NamedTuple):
    """What became of a line that lost its lot: `réf_lot` has it now, or is None if no lot could take it."""

    ligne: LigneDeCommande
    réf_lot: str | None


@dataclass(frozen=True)
class Unfinished:
    """What a handler returns when it has done only a part: its result, and the command for the rest."""

    result: list[Any]
    then: Command


class Results(list[Any]):
    """What the command's handler returned, and what happened.

    `outcome` says in a word how it ended. If the command was not served, `refusal` says why, and the list has
    None instead of a result. `réallocations` are the lines that lost their lot because of the command, in
    order. `events` were committed; a repetition has none.

    A view that has reached `position`, that of the last event, reflects the command; `token` also identifies
    the history of the database. A repetition gets the position and the token of the first answer. `then` is
    the rest of a command that is too large for one transaction.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: tuple[Event, ...] = ()
        self.refusal: Refus | None = None
        self.réallocations: list[Réallocation] = []
        self.position: int | None = None
        self.mark: str | None = None
        self.then: Command | None = None

    @property
    def outcome(self) -> Outcome:
        """How the command ended."""
        if self.refusal is not None:
            return Outcome.REFUSED
        return Outcome.DONE if self.events else Outcome.REPEATED

    @property
    def token(self) -> ConsistencyToken:
        """The token that a read sends back to see the command's effect."""
        return ConsistencyToken(self.position or 0, self.mark)

    def raise_for_refusal(self) -> Self:
        """These results. Raises the refusal if the command was not served."""
        if self.refusal is not None:
            raise self.refusal
        return self

    def add(self, returned: Any) -> None:
        """Add what the command's handler returned, or the refusal that it raised after its commit."""
        match returned:
            case Unfinished(result, then):
                self.append(result)
                self.then = then
            case Refus():
                self.append(None)
                self.refusal = returned
            case _:
                self.append(returned)

    def add_reaction(self, returned: Any) -> None:
        """Add what a reaction returned."""
        if isinstance(returned, Réallocation):
            self.réallocations.append(returned)

    def go_on(self, rest: "Results") -> None:
        """Add the results of `then`, whose handler returns a list as well."""
        self[0] += rest[0]
        self.events += rest.events
        self.réallocations += rest.réallocations
        if rest.position is not None:
            self.position, self.mark = rest.position, rest.mark
        self.then = rest.then
