"""The positions of a server's projections, polled by one task while anybody on the loop waits for them."""

import asyncio
import heapq
import time
from itertools import count
from typing import TypeAlias

from allocation.adapters.journal.checkpoint_watch import INTERVAL_S
from allocation.adapters.postgresql.fetching import LookUp

_LOOK = """
    SELECT projections.position, en_pause
    FROM ROWS FROM (json_to_recordset($1) AS (name text)) WITH ORDINALITY AS asked (name, place)
    LEFT JOIN projections ON projections.name = asked.name COLLATE "C"
    ORDER BY place
"""
_Waiting: TypeAlias = "list[tuple[int, int, asyncio.Future[None]]]"


class LoopCheckpointWatch:
    """Lets tens of thousands wait for projections, at the cost of a coroutine each."""

    def __init__(self, look_up: LookUp, loop: asyncio.AbstractEventLoop) -> None:
        self._look_up = look_up
        self._loop = loop
        self._numbers = count()
        # For each projection, who waits: those first that wait for the lowest position.
        self._waiting: dict[str, _Waiting] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait(self, projection: str, position: int, deadline: float) -> None:
        """Return once it is worth asking the view again, as `CheckpointWatch.wait` does."""
        reached = self._loop.create_future()
        heapq.heappush(self._waiting.setdefault(projection, []), (position, next(self._numbers), reached))
        if self._task is None:
            self._task = self._loop.create_task(self._watch())
        too_late = self._loop.call_later(max(0.0, deadline - time.monotonic()), _release, reached)
        try:
            await reached
        finally:
            too_late.cancel()

    async def _watch(self) -> None:
        try:
            while self._somebody_waits():
                began = time.monotonic()
                await asyncio.gather(*map(self._look, list(self._waiting)))
                await asyncio.sleep(max(0.0, began + INTERVAL_S - time.monotonic()))
        finally:
            self._task = None

    def _somebody_waits(self) -> bool:
        """Whether anybody still waits, once projections are forgotten that nobody waits for."""
        for projection, waiting in list(self._waiting.items()):
            if all(reached.done() for _, _, reached in waiting):
                del self._waiting[projection]
        return bool(self._waiting)

    async def _look(self, projection: str) -> None:
        waiting = self._waiting[projection]
        try:
            position, paused = await self._look_up(_LOOK, {"name": projection})
        except Exception:  # noqa: BLE001 - whoever waits asks the view again, and gets the error there
            position, paused = b"0", b"t"
        seen = int(position or 0)
        while waiting and (paused == b"t" or waiting[0][0] <= seen):
            _release(heapq.heappop(waiting)[2])


def _release(reached: "asyncio.Future[None]") -> None:
    if not reached.done():
        reached.set_result(None)
