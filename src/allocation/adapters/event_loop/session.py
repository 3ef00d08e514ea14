"""A session of PostgreSQL that is driven by an event loop, one statement at a time."""

import asyncio

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from allocation.adapters.postgresql.fetching import RawRow
from allocation.adapters.postgresql.lookups import Prepared, checked


class LoopSession:
    """Runs prepared statements on a connection that nobody else uses from now on, and that it closes.

    What takes longer than `limit_s` seconds closes the connection, and raises psycopg.OperationalError.
    """

    def __init__(
        self, connection: psycopg.Connection, loop: asyncio.AbstractEventLoop, limit_s: float
    ) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._descriptor = self._pgconn.socket
        self._loop = loop
        self._limit_s = limit_s
        self._prepared: Prepared = {}
        self._answer: asyncio.Future[PGresult] | None = None
        self._results: list[PGresult] = []
        self.is_closed = False
        loop.add_reader(self._descriptor, self._receive)

    async def rows(self, query: str, parameter: str) -> list[RawRow]:
        """The rows of a SELECT with the parameter `$1`, as raw text. Raises the driver's errors."""
        name = self._prepared.get(query)
        if name is None:
            name = b"look_up_%d" % len(self._prepared)
            self._pgconn.send_prepare(name, query.encode())
            await self._answered(ExecStatus.COMMAND_OK)
            self._prepared[query] = name
        self._pgconn.send_query_prepared(name, [parameter.encode()])
        result = await self._answered(ExecStatus.TUPLES_OK)
        columns = range(result.nfields)
        return [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]

    def close(self) -> None:
        """Close the connection; a statement under way fails."""
        if not self.is_closed:
            self.is_closed = True
            # Also where libpq has closed the socket itself: the next one may get the same descriptor.
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._connection.close()
        self._fail(psycopg.OperationalError("the connection was closed"))

    async def _answered(self, expected: ExecStatus) -> PGresult:
        """What PostgreSQL answers. Raises the driver's error for any other kind of result."""
        self._results = []
        self._answer = self._loop.create_future()
        self._send()
        too_late = self._loop.call_later(self._limit_s, self._give_up)
        try:
            result = await self._answer
        finally:
            too_late.cancel()
            self._answer = None
        return checked(result, expected)

    def _send(self) -> None:
        """Send what is left to send, now or when the socket takes more."""
        try:
            unsent = self._pgconn.flush()
        except psycopg.Error as error:
            self._lose(error)
            return
        if unsent:
            self._loop.add_writer(self._descriptor, self._send)
        else:
            self._loop.remove_writer(self._descriptor)

    def _receive(self) -> None:
        try:
            self._pgconn.consume_input()
            while self._answer is not None and not self._pgconn.is_busy():
                result = self._pgconn.get_result()
                if result is None:
                    self._finish()
                    return
                self._results.append(result)
        except psycopg.Error as error:
            self._lose(error)

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done() and self._results:
            self._answer.set_result(self._results[-1])

    def _give_up(self) -> None:
        self._lose(psycopg.OperationalError(f"PostgreSQL did not answer within {self._limit_s:g} s"))

    def _lose(self, error: psycopg.Error) -> None:
        self._fail(error)
        self.close()

    def _fail(self, error: psycopg.Error) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
