"""Reads of an event loop: what shares a statement, whose answer is whose, and what happens in trouble."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from random import Random
from typing import Any, TypeAlias

import psycopg
import pytest
import uvloop
from sqlalchemy import make_url, text
from tests.loops import next_turn
from tests.postgresql_server import Server
from tests.waiting import PATIENCE_S, eventually, wait_until_blocked
from tests.wire import Wire

from allocation.adapters.event_loop.grouped_reads import MAX_KEYS, SESSIONS, GroupedReads
from allocation.adapters.event_loop.read_server import LoopReads
from allocation.adapters.postgresql import database as database_module
from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.adapters.postgresql.fetching import RawRow
from allocation.views import views
from allocation.views.freshness import Freshness

Sql = Callable[..., list[dict[str, Any]]]
Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[GroupedReads]]

LIMIT_S = 0.5
LOCK = 7

_KEYS = "FROM ROWS FROM (json_to_recordset($1) AS (n int)) WITH ORDINALITY AS asked (n, place) ORDER BY place"
ECHO = f"SELECT n {_KEYS}"
# Each key waits for as long as `locked` lasts.
HELD = f"SELECT n, pg_advisory_xact_lock_shared({LOCK}) {_KEYS}"
# Whoever asks it loses the session.
LETHAL = f"SELECT pg_terminate_backend(pg_backend_pid()) {_KEYS}"

OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
def opened(database: Database) -> Opened:
    """Reads on the loop that runs, by default on the test's database."""

    @asynccontextmanager
    async def open_reads(
        source: Database = database, *, limit_s: float = PATIENCE_S, sessions: int = SESSIONS
    ) -> AsyncIterator[GroupedReads]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as executor:
            reads = GroupedReads(source.begin_reading, loop, executor, limit_s, sessions=sessions)
            try:
                yield reads
            finally:
                await next_turn()
                reads.close()

    return open_reads


@contextmanager
def locked(database: Database) -> Iterator[None]:
    with database.working() as connection, connection.begin():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        yield


@pytest.fixture
def kill_sessions(sql: Sql) -> Callable[[], None]:
    """Ends all other sessions of the database, and returns once they are gone."""

    def kill() -> None:
        pids = [row["pid"] for row in sql(f"SELECT pid, pg_terminate_backend(pid) {OTHERS}")]
        assert pids
        gone = "SELECT pid FROM pg_stat_activity WHERE pid = ANY (:pids)"
        eventually(lambda: not sql(gone, pids=pids))

    return kill


def ask(reads: GroupedReads, *numbers: object, query: str = ECHO) -> list[asyncio.Task[RawRow]]:
    return [asyncio.create_task(reads.look_up(query, {"n": number})) for number in numbers]


async def numbers_in(answers: Awaitable[list[RawRow]]) -> list[int]:
    return [int(row[0] or 0) for row in await answers]


def test_ce_qui_se_demande_pendant_un_ordre_sql_va_dans_le_suivant(
    opened: Opened, database: Database, groups: list[int]
) -> None:
    async def scenario() -> None:
        async with opened(sessions=1) as reads:
            with locked(database):
                first = ask(reads, 0, query=HELD)
                await asyncio.to_thread(wait_until_blocked, database)
                others = [task for number in range(100) for task in ask(reads, number)]
                await next_turn()
                assert groups == [1]

            assert await numbers_in(asyncio.gather(*first, *others)) == [0, *range(100)]
            assert groups == [1, 100]

    asyncio.run(scenario())


def test_un_ordre_sql_ne_répond_pas_à_plus_de_demandes_que_la_limite(
    opened: Opened, groups: list[int]
) -> None:
    async def scenario() -> None:
        async with opened(sessions=1) as reads:
            numbers = range(2 * MAX_KEYS + 1)

            assert await numbers_in(asyncio.gather(*ask(reads, *numbers))) == list(numbers)
            assert groups == [MAX_KEYS, MAX_KEYS, 1]

    asyncio.run(scenario())


def test_pendant_qu_une_session_attend_une_autre_répond(opened: Opened, database: Database) -> None:
    async def scenario() -> None:
        async with opened() as reads:
            with locked(database):
                [held] = ask(reads, 1, query=HELD)
                await asyncio.to_thread(wait_until_blocked, database)

                assert await numbers_in(asyncio.gather(*ask(reads, 2))) == [2]
                assert not held.done()
            await held

    asyncio.run(scenario())


def test_chacun_reçoit_la_réponse_à_sa_demande_quel_que_soit_l_ordre(opened: Opened) -> None:
    numbers = [number % 200 for number in range(1000)]
    Random(1).shuffle(numbers)

    async def scenario() -> None:
        async with opened() as reads:
            tasks = [ask(reads, number, query=ECHO if number % 3 else HELD)[0] for number in numbers]

            assert await numbers_in(asyncio.gather(*tasks)) == numbers

    asyncio.run(scenario())


def test_une_demande_que_postgresql_refuse_échoue_seule(opened: Opened, sql: Sql) -> None:
    async def scenario() -> None:
        async with opened(sessions=1) as reads:
            for round_number in range(10):
                one, wrong, two = ask(reads, round_number, "un", -round_number)

                with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                    await wrong
                assert await numbers_in(asyncio.gather(*[one, two])) == [round_number, -round_number]
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                await ask(reads, "un")[0]
            # What fails leaves no session open that nobody uses any more.
            assert len(sql(f"SELECT pid {OTHERS} AND query LIKE '%json_to_recordset%'")) <= 1

    asyncio.run(scenario())


def test_qui_n_attend_plus_sa_réponse_n_ôte_rien_aux_autres(opened: Opened, database: Database) -> None:
    async def scenario() -> None:
        async with opened(sessions=1) as reads:
            with locked(database):
                gone, there = ask(reads, 1, 2, query=HELD)
                await asyncio.to_thread(wait_until_blocked, database)
                gone.cancel()

            assert await numbers_in(asyncio.gather(there, *ask(reads, 3))) == [2, 3]

    asyncio.run(scenario())


def test_une_vue_sans_repère_n_a_rien_à_dire(database: Database, sql: Sql) -> None:
    sql("DELETE FROM projections")

    async def scenario() -> None:
        reads = LoopReads(database, asyncio.get_running_loop())
        asked = [
            views.ALLOCATIONS.document({"id_commande": f"c-{number}"}, reads, Freshness(0, 0))
            for number in range(3)
        ]
        answers = await asyncio.gather(*asked)
        reads.close()

        assert [(answer.value, answer.position) for answer in answers] == [(None, 0)] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
class TestSessionsPerdues:
    def test_perdue_sans_qu_on_le_sache_elle_est_remplacée(
        self, opened: Opened, kill_sessions: Callable[[], None], loop_factory: Any
    ) -> None:
        async def scenario() -> None:
            async with opened() as reads:
                await asyncio.gather(*ask(reads, 1, 2), *ask(reads, 3, query=HELD))
                # The loop has no turn in between to notice it.
                kill_sessions()

                assert await numbers_in(asyncio.gather(*ask(reads, 4, 5))) == [4, 5]

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())

    def test_perdue_pendant_qu_elle_ne_sert_pas_elle_est_remplacée(
        self, opened: Opened, kill_sessions: Callable[[], None], loop_factory: Any
    ) -> None:
        async def scenario() -> None:
            async with opened() as reads:
                await asyncio.gather(*ask(reads, 1), *ask(reads, 2, query=HELD))
                await asyncio.to_thread(kill_sessions)

                assert await numbers_in(asyncio.gather(*ask(reads, 3), *ask(reads, 4, query=HELD))) == [3, 4]

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())

    def test_perdue_pendant_qu_on_attend_la_question_est_posée_à_une_autre(
        self, opened: Opened, database: Database, sql: Sql, loop_factory: Any
    ) -> None:
        async def scenario() -> None:
            async with opened() as reads:
                await asyncio.gather(*ask(reads, 0))
                with locked(database):
                    asked = ask(reads, *range(20), query=HELD)
                    await asyncio.to_thread(wait_until_blocked, database)
                    sql("""
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE cardinality(pg_blocking_pids(pid)) > 0
                    """)

                assert await numbers_in(asyncio.gather(*asked)) == list(range(20))

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())

    def test_cent_sessions_perdues_ne_dérangent_pas_celles_qui_servent(
        self, opened: Opened, loop_factory: Any
    ) -> None:
        """A descriptor that is closed is given to the next session: that one must not be lost, too."""

        async def scenario() -> None:
            async with opened() as reads:
                for number in range(100):
                    lost = ask(reads, number, query=LETHAL)
                    served = ask(reads, number, number + 1)

                    assert await numbers_in(asyncio.gather(*served)) == [number, number + 1]
                    with pytest.raises(StorageUnavailable):
                        await lost[0]

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())


def test_sans_base_chacun_reçoit_son_refus_et_tout_reprend_à_son_retour(
    opened: Opened, database_url: str, server: Server
) -> None:
    name = make_url(database_url).database
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"

    async def scenario() -> None:
        async with opened() as reads:
            await asyncio.gather(*ask(reads, 1), *ask(reads, 2, query=HELD))
            with psycopg.connect(server.url, autocommit=True) as administration:
                administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
                administration.execute(end.encode())
                try:
                    refusals = await asyncio.gather(*ask(reads, *range(5)), return_exceptions=True)
                finally:
                    administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

            assert [type(each) for each in refusals] == [StorageUnavailable] * 5
            assert len({id(each) for each in refusals}) == 5
            assert await numbers_in(asyncio.gather(*ask(reads, *range(5)))) == list(range(5))

    asyncio.run(scenario())


def test_un_serveur_muet_est_abandonné_après_un_temps_et_tout_reprend_avec_lui(
    opened: Opened, database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "READ_LIMIT_S", LIMIT_S)

    async def scenario(wired: Database) -> None:
        async with opened(wired, limit_s=LIMIT_S) as reads:
            await asyncio.gather(*ask(reads, 1))
            began = time.monotonic()
            wire.go_silent()
            refusals = await asyncio.gather(*ask(reads, 2, 3), return_exceptions=True)
            wire.pass_on_what_is_new()

            assert [type(each) for each in refusals] == [StorageUnavailable] * 2
            assert time.monotonic() - began < PATIENCE_S
            assert await numbers_in(asyncio.gather(*ask(reads, 4))) == [4]

    with Database(wire.url(database_url)) as wired:
        asyncio.run(scenario(wired))
