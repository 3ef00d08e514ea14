"""The servers that answer reads, for those who wait on an event loop."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from allocation.adapters.event_loop.checkpoint_watch import LoopCheckpointWatch
from allocation.adapters.event_loop.grouped_reads import SESSIONS, GroupedReads
from allocation.adapters.postgresql.database import READ_LIMIT_S, Database
from allocation.adapters.postgresql.fetching import RawRow, Row
from allocation.adapters.postgresql.read_servers import ReadServers

# Waiting costs a coroutine each, and reads that fall back are grouped like all others.
MAX_WAITING = 16_384
MAX_FALL_BACKS = 256
# For what is neither short nor frequent: histories, and the past.
THREADS = 4


class LoopReadServer:
    """A read server whose methods suspend their caller."""

    def __init__(
        self, database: Database, loop: asyncio.AbstractEventLoop, executor: ThreadPoolExecutor
    ) -> None:
        self._database = database
        self._loop = loop
        self._executor = executor
        sessions = min(SESSIONS, database.pool_size)
        self._reads = GroupedReads(database.begin_reading, loop, executor, READ_LIMIT_S, sessions=sessions)
        self._watch = LoopCheckpointWatch(self._reads.look_up, loop)

    async def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a prepared SELECT, run by one of a few threads. Raises StorageUnavailable."""
        return await self._loop.run_in_executor(self._executor, self._database.fetch, query, parameters)

    async def look_up(self, query: str, key: Mapping[str, object]) -> RawRow:
        """The row for one key, as raw text; empty without one. Raises StorageUnavailable."""
        return await self._reads.look_up(query, key)

    async def reached(self, projection: str, position: int, deadline: float) -> None:
        """Return once it is worth asking the view again."""
        await self._watch.wait(projection, position, deadline)

    async def pause(self, seconds: float) -> None:
        """Let this time pass."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Close its sessions."""
        self._reads.close()


class LoopReads(ReadServers):
    """The read servers of a database, on a loop; `close` them before the loop ends."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="reads")
        self._servers = [LoopReadServer(each, loop, self._executor) for each in database.servers]
        super().__init__(*self._servers, max_waiting=MAX_WAITING, max_fall_backs=MAX_FALL_BACKS)

    def close(self) -> None:
        """Close the sessions, and end the threads."""
        for server in self._servers:
            server.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
