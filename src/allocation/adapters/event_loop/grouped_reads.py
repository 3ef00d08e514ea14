"""Reads grouped as writes are: what is asked while a statement is under way goes into the next one.

    look_up ──▶ a lane for each query ──▶ a free session: one statement for many keys ──▶ a row for each

With one statement for each question, most of its cost is the way to PostgreSQL and back.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import psycopg

from allocation.adapters.event_loop.session import LoopSession
from allocation.adapters.postgresql.database_errors import StorageUnavailable, read_errors_translated
from allocation.adapters.postgresql.fetching import RawRow
from allocation.adapters.postgresql.read_servers import keys_document

# One is being answered while the next one is sent; more would make groups smaller.
SESSIONS = 2
# The largest group: its answers should not keep others waiting.
MAX_KEYS = 128


class _Question(NamedTuple):
    key: Mapping[str, object]
    answer: asyncio.Future[RawRow]


class GroupedReads:
    """Look-ups on one server, on sessions that `connect` makes, in a thread of the executor.

    Everything but `connect` runs on the loop.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        limit_s: float,
        *,
        sessions: int = SESSIONS,
    ) -> None:
        self._connect = connect
        self._loop = loop
        self._executor = executor
        self._limit_s = limit_s
        self._lanes: OrderedDict[str, deque[_Question]] = OrderedDict()
        self._free: list[LoopSession | None] = [None] * sessions
        self._busy: set[asyncio.Task[None]] = set()
        self._due = False

    async def look_up(self, query: str, key: Mapping[str, object]) -> RawRow:
        """The row for this key, as `ReadServer.look_up` gives it. Raises StorageUnavailable."""
        answer: asyncio.Future[RawRow] = self._loop.create_future()
        self._lanes.setdefault(query, deque()).append(_Question(key, answer))
        self._have_asked()
        return await answer

    def close(self) -> None:
        """Close the sessions that are not in use."""
        for session in self._free:
            if session is not None:
                session.close()

    def _have_asked(self) -> None:
        """Ask once all that the loop is about to handle has been handled: it may ask for more."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        self._due = False
        while self._free and self._lanes:
            query, lane = self._lanes.popitem(last=False)
            group = [lane.popleft() for _ in range(min(len(lane), MAX_KEYS))]
            if lane:
                self._lanes[query] = lane
            # The session that has answered last is the one that is surely connected.
            task = self._loop.create_task(self._answer(self._free.pop(), query, group))
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)

    async def _answer(self, session: LoopSession | None, query: str, group: Sequence[_Question]) -> None:
        try:
            session = await self._answer_on(session, query, group)
        finally:
            self._free.append(session)
            if self._lanes:
                self._have_asked()

    async def _answer_on(
        self, session: LoopSession | None, query: str, group: Sequence[_Question]
    ) -> LoopSession | None:
        """Answer the questions; the session that is left."""
        try:
            session, rows = await self._rows(session, query, group)
        except StorageUnavailable as error:
            for question in group:
                # One for each: tasks that raise the same exception would share its traceback.
                _fail(question, StorageUnavailable(*error.args))
            return None
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            if len(group) > 1:
                # One of the keys is to blame: the others are answered without it.
                for question in group:
                    session = await self._answer_on(session, query, [question])
                return session
            _fail(group[0], error)
            return session
        for question, row in zip(group, rows or [[] for _ in group], strict=True):
            if not question.answer.done():
                question.answer.set_result(row)
        return session

    async def _rows(
        self, session: LoopSession | None, query: str, group: Sequence[_Question]
    ) -> tuple[LoopSession, list[RawRow]]:
        keys = keys_document([question.key for question in group])
        if session is not None and not session.is_closed:
            try:
                return session, await _rows_on(session, query, keys)
            except StorageUnavailable:
                # It may have been from before a restart of the database.
                session.close()
        with read_errors_translated():
            connection = await self._loop.run_in_executor(self._executor, self._connect)
        session = LoopSession(connection, self._loop, self._limit_s)
        try:
            return session, await _rows_on(session, query, keys)
        except BaseException:
            session.close()
            raise


async def _rows_on(session: LoopSession, query: str, keys: str) -> list[RawRow]:
    with read_errors_translated():
        return await session.rows(query, keys)


def _fail(question: _Question, error: Exception) -> None:
    if not question.answer.done():
        question.answer.set_exception(error)
