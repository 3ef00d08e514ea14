"""The message bus: one transaction for a command and everything that must happen with it.

    handle(command) ──▶ group commit ──▶ with uow: handler, the reactions to its events, theirs … commit
                                                                        └▶ after the commit: `after_commit`

Nothing that two calls of `handle` share is ever changed, but for the queue of the group commit, which has its
own lock: any number of threads may call it.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from uuid import uuid4

from allocation.adapters.coroutines import at_once
from allocation.adapters.journal.original_positions import AbstractOriginalPositions
from allocation.adapters.journal.rows import Cause
from allocation.adapters.journal.tokens import ConsistencyToken, mark_of
from allocation.adapters.postgresql.database import Locked
from allocation.adapters.write_model.repository import Needs, Waiting
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.commands import Command
from allocation.domain.errors import AllocationError, Refus
from allocation.domain.events import Event
from allocation.service_layer.callers import BlockingCaller, BlockingPromise, Caller, P
from allocation.service_layer.group_commit import GroupCommit
from allocation.service_layer.limits import DEFAULT_LIMITS, Limits
from allocation.service_layer.observer import Observer
from allocation.service_layer.results import Results
from allocation.service_layer.unit_of_work import JoinedUnitOfWork
from allocation.service_layer.use_cases import UseCase

__all__ = ["CommandHandlers", "Message", "MessageBus", "Reactions", "Results"]

U = TypeVar("U", bound=JournalledUnitOfWork)

Message: TypeAlias = Command | Event
CommandHandlers: TypeAlias = Mapping[type[Command], UseCase[Any, Any]]
Reactions: TypeAlias = Mapping[type[Event], Sequence[Callable[..., Any]]]

_Outcome: TypeAlias = Results | Refus | Locked

_BLOCKING = BlockingCaller()


class _Task(NamedTuple):
    """A message, and what is worked out of it once, however often it is tried."""

    message: Message
    key: str
    needs: Needs


class _Renounced(AllocationError):
    """A handler has changed something and left without agreeing to it."""

    def __init__(self, results: Results) -> None:
        super().__init__()
        self.results = results


class Submitted:
    """A command under way, whose results can be asked for later."""

    def __init__(self, first: BlockingPromise, finish: Callable[[Results], Results]) -> None:
        self._first = first
        self._finish = finish

    def result(self, timeout_s: float = -1) -> Results:
        """Wait for the results, after all of its parts. Raises the refusal, or TimeoutError."""
        return self._finish(self._first.result(timeout_s))


class MessageBus(Generic[U]):
    """Answers commands; made by `bootstrap`."""

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        new_uow: Callable[[], U],
        *,
        command_handlers: CommandHandlers,
        reactions: Reactions,
        after_commit: Callable[[int], None] | None = None,
        original_positions: AbstractOriginalPositions,
        limits: Limits = DEFAULT_LIMITS,
        observer: Observer | None = None,
    ) -> None:
        self._new_uow = new_uow
        self._command_handlers = command_handlers
        self._reactions = reactions
        self._after_commit = after_commit
        self._original_positions = original_positions
        self._group_commit: GroupCommit[_Task] = GroupCommit(
            self._transact, key=attrgetter("key"), limits=limits, observer=observer
        )

    @property
    def uow(self) -> U:
        """A new unit of work."""
        return self._new_uow()

    def handle(self, message: Message) -> Results:
        """Carry the message out in one transaction, which it may share; the results of the command's handler.

        A command that is too large for one goes on in others, each in its turn with what else waits.

        What was committed is returned, even when it is a refusal: that of a command that found no stock is in
        the journal, and in `Results.refusal`. Other refusals are raised.

        Conflicts with other writers and passing outages are tried again, a bounded number of times. Raises
        what the handler raises, QueueFull, GaveUp, VersionConflict or StorageUnavailable; nothing has changed
        then, save that after StorageUnavailable the outcome may be unknown, and that a large command may have
        done some of its parts: the same command again tells, and goes on.
        """
        return at_once(self.handled(message, _BLOCKING))

    def check_room(self) -> None:
        """Raises QueueFull while there is more to do than can be done, and `handle` would raise it, too."""
        self._group_commit.check_room()

    async def handled(self, message: Message, caller: Caller[P]) -> Results:
        """As `handle`, for a caller that waits in its own way."""
        first = await self._group_commit.answer(self._task(message), caller)
        results = await self._finished(first, caller)
        if results.position is None:
            token = await caller.aside(lambda: self._first_token(message))
            results.position, results.mark = token
        if self._after_commit is not None:
            await caller.aside(partial(self._after_commit, results.position))
        return results

    def submit(self, message: Message) -> Submitted:
        """As `handle`, without waiting, and without what comes after the commit. Raises QueueFull."""
        first = self._group_commit.submit(self._task(message))
        return Submitted(first, lambda results: at_once(self._finished(results, _BLOCKING)))

    async def _finished(self, results: Results, caller: Caller[P]) -> Results:
        """The results, after all that was left to do."""
        while results.then is not None:
            results.go_on(await self._group_commit.answer(self._task(results.then), caller))
        return results

    def _transact(self, tasks: Sequence[_Task], seconds: float, waiting: Waiting) -> Sequence[_Outcome]:
        """Carry the tasks out in one transaction, or as many as there is time for; the outcome of each."""
        outcomes: list[_Outcome] = []
        try:
            with self._new_uow() as uow:
                uow.produits.prepare([task.needs for task in tasks], waiting)
                # To leave out what has been loaded already would only cost time.
                deadline = time.monotonic() + seconds
                for task in tasks:
                    outcomes.append(self._outcome(task.message, uow))
                    if time.monotonic() > deadline:
                        break
                uow.commit()
        except _Renounced as alone:
            if len(tasks) > 1:
                raise
            return [alone.results]
        _assign_positions(outcomes, uow.position)
        return outcomes

    def _outcome(self, message: Message, uow: U) -> _Outcome:
        """What came of the message. Raises where something must be undone, or has gone wrong."""
        results = Results()
        try:
            agreed = self._carry_out(message, uow, results)
        except (Refus, Locked) as refusal:
            if results.events or uow.collect_new_events():
                raise
            return refusal
        if results.events and not agreed:
            results.events = ()
            raise _Renounced(results)
        return results

    def _carry_out(self, message: Message, uow: U, results: Results) -> bool:
        """Let the handlers run, and fill in `results`; whether all of them agreed."""
        agreed, events, cause = True, list[Event](), uuid4()
        uow.cause = Cause(type(message).__name__ if isinstance(message, Command) else None, cause)
        results.mark = mark_of(cause)
        queue = deque([message])
        try:
            while queue:
                current = queue.popleft()
                agreed = self._let_handle(current, uow, results) and agreed
                emitted = uow.collect_new_events()
                events += emitted
                queue.extend(emitted)
        finally:
            results.events = tuple(events)
        return agreed

    def _let_handle(self, message: Message, uow: U, results: Results) -> bool:
        """Let the handlers of one message run, and take in what they return; whether all of them agreed."""
        agreed = True
        for handler in self._handlers(message):
            joined = JoinedUnitOfWork(uow)
            if isinstance(message, Command):
                results.add(_answer(handler, message, joined))
            else:
                results.add_reaction(handler(message, joined))
            agreed = agreed and joined.agreed
        return agreed

    def _handlers(self, message: Message) -> Sequence[Callable[..., Any]]:
        if isinstance(message, Event):
            return self._reactions.get(type(message), ())
        return (self._command_handlers[type(message)].handler,)

    def _task(self, message: Message) -> _Task:
        if isinstance(message, Event):
            return _Task(message, message.sku, Needs(skus=(message.sku,)))
        use_case = self._command_handlers[type(message)]
        return _Task(message, use_case.key(message), use_case.needs(message))

    def _first_token(self, message: Message) -> ConsistencyToken:
        """Where the message was carried out first, or the journal's end where that is not known."""
        first = None
        if isinstance(message, Command):
            use_case = self._command_handlers[type(message)]
            first = use_case.first_position(message, self._original_positions)
        return self._original_positions.token_at(first)


def _answer(handler: Callable[..., Any], command: Command, joined: JoinedUnitOfWork) -> Any:
    """What the handler returns, or the refusal that it raises after it has agreed to what it has done."""
    try:
        return handler(command, joined)
    except Refus as refusal:
        if not joined.committed:
            raise
        # It outlives the transaction, which its trace would keep.
        return refusal.with_traceback(None)


def _assign_positions(outcomes: Sequence[_Outcome], last: int | None) -> None:
    """The events of one transaction stand in the journal one after the other, up to `last`."""
    position = last
    for outcome in reversed(outcomes):
        if isinstance(outcome, Results) and outcome.events and position is not None:
            outcome.position = position
            position -= len(outcome.events)
