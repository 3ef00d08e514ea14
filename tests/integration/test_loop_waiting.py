"""Reads that wait on an event loop for a projection: thousands of them, each released in its time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.loops import happens, next_turn
from tests.waiting import PATIENCE_S

from allocation.adapters.event_loop.checkpoint_watch import LoopCheckpointWatch
from allocation.adapters.event_loop.read_server import LoopReads
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.adapters.postgresql.fetching import RawRow
from allocation.projections.projector import register
from allocation.service_layer.bootstrap import projection_followers

Sql = Callable[..., list[dict[str, Any]]]

WAITING = 2000
STEP = 50
FAR = 10**9
# Whoever waits for so long is only released by what the test does.
ENDLESS_S = 100 * PATIENCE_S


class Watched:
    """A watch on the projections of a database, which counts how often each is looked at."""

    def __init__(self, database: Database) -> None:
        self.loop = asyncio.get_running_loop()
        self.reads = LoopReads(database, self.loop)
        self.looks: Counter[object] = Counter()
        self.is_away = False
        self._watch = LoopCheckpointWatch(self._look_up, self.loop)

    @property
    def runs(self) -> bool:
        """Whether the projections are looked at from time to time."""
        return self._watch._task is not None

    def wait(self, position: int, projection: str = "stock_view", wait_s: float = ENDLESS_S) -> Any:
        return asyncio.create_task(self._watch.wait(projection, position, time.monotonic() + wait_s))

    async def _look_up(self, query: str, key: Mapping[str, object]) -> RawRow:
        self.looks[key["name"]] += 1
        if self.is_away:
            raise StorageUnavailable("no connection")
        return await self.reads.primary.look_up(query, key)


@pytest.fixture
def reach(database: Database, sql: Sql) -> Callable[..., None]:
    """Moves a projection's checkpoint to a position."""
    register(projection_followers(database))

    def reach(position: int, projection: str = "stock_view") -> None:
        sql(
            "UPDATE projections SET position = :position WHERE name = :name",
            position=position,
            name=projection,
        )

    return reach


def on_loop(database: Database, scenario: Callable[[Watched], Any]) -> None:
    async def run() -> None:
        watched = Watched(database)
        try:
            await scenario(watched)
        finally:
            watched.reads.close()

    asyncio.run(run())


async def all_of(tasks: list[Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*tasks)


def test_des_milliers_attendent_et_chacun_part_à_sa_position_jamais_avant(
    database: Database, reach: Callable[..., None]
) -> None:
    async def scenario(watched: Watched) -> None:
        # From the last to the first: who came first is not who goes first.
        waiting = {position: watched.wait(position) for position in range(WAITING, 0, -1)}
        for reached in range(STEP, WAITING + 1, STEP):
            before = [position for position, task in waiting.items() if task.done()]
            assert sorted(before) == list(range(1, reached - STEP + 1))
            await asyncio.to_thread(reach, reached)
            await all_of([waiting[position] for position in range(1, reached + 1)])

    on_loop(database, scenario)


def test_une_position_atteinte_pour_une_projection_ne_l_est_pas_pour_une_autre(
    database: Database, reach: Callable[..., None]
) -> None:
    async def scenario(watched: Watched) -> None:
        lots, stock = watched.wait(5, "lots_view"), watched.wait(5, "stock_view")
        await asyncio.to_thread(reach, 5, "lots_view")
        await all_of([lots])
        looks = watched.looks["stock_view"]
        await happens(lambda: watched.looks["stock_view"] > looks + 2)
        assert not stock.done()
        looks = watched.looks["lots_view"]
        await happens(lambda: watched.looks["stock_view"] > looks + 3)
        # Nobody waits for it any more.
        assert watched.looks["lots_view"] == looks
        await asyncio.to_thread(reach, 5, "stock_view")
        await all_of([stock])

    on_loop(database, scenario)


def test_une_pause_libère_tous_ceux_qui_attendent(
    database: Database, reach: Callable[..., None], sql: Sql
) -> None:
    reach(1)

    async def scenario(watched: Watched) -> None:
        waiting = [watched.wait(FAR + number) for number in range(100)]
        await happens(lambda: watched.looks["stock_view"] > 2)
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(sql, "UPDATE projections SET en_pause = true WHERE name = 'stock_view'")
        await all_of(waiting)

    on_loop(database, scenario)


def test_une_panne_libère_tous_ceux_qui_attendent_et_l_on_attend_de_nouveau_ensuite(
    database: Database, reach: Callable[..., None]
) -> None:
    async def scenario(watched: Watched) -> None:
        waiting = [watched.wait(FAR) for _ in range(100)]
        await happens(lambda: watched.looks["stock_view"] > 1)
        watched.is_away = True
        await all_of(waiting)
        watched.is_away = False
        again = watched.wait(7)
        await happens(lambda: not again.done() and watched.runs)
        await asyncio.to_thread(reach, 7)
        await all_of([again])

    on_loop(database, scenario)


def test_chacun_part_à_son_échéance_même_si_rien_n_avance(
    database: Database, reach: Callable[..., None]
) -> None:
    reach(1)

    async def scenario(watched: Watched) -> None:
        late = [watched.wait(FAR, wait_s=0.05) for _ in range(100)]
        past = watched.wait(FAR, wait_s=-1)
        patient = watched.wait(FAR)
        await all_of([past, *late])
        assert not patient.done()
        patient.cancel()

    on_loop(database, scenario)


def test_quand_personne_n_attend_plus_rien_n_est_plus_regardé(
    database: Database, reach: Callable[..., None]
) -> None:
    reach(1)

    async def scenario(watched: Watched) -> None:
        gone, released = watched.wait(FAR), watched.wait(1)
        await all_of([released])
        gone.cancel()
        await happens(lambda: not watched.runs)
        looks = watched.looks.total()
        for _ in range(10):
            await watched.reads.primary.look_up("SELECT 1 WHERE $1::json IS NOT NULL", {})
            await next_turn()
        assert watched.looks.total() == looks
        # And who waits next is seen.
        await all_of([watched.wait(1)])

    on_loop(database, scenario)
