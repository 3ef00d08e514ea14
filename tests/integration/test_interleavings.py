"""Fifty writers with pauses, roll-backs and killed connections: the views are a fold over the journal."""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text
from tests.waiting import wait_until_reached

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.listener import JournalListener, Waker
from allocation.adapters.journal.rows import Cause
from allocation.adapters.postgresql.database import Database, StorageUnavailable, VersionConflict
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé, QuantitéLotModifiée, RuptureDeStock
from allocation.projections.projector import Projector, register
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, journal_followers, projection_followers
from allocation.service_layer.limits import Limits
from allocation.service_layer.messagebus import MessageBus, Submitted
from allocation.views.progress import progress

Sql = Callable[..., list[dict[str, Any]]]

EVENTS = 100_000
WRITERS = 50
SKUS = [f"SKU-{n:02}" for n in range(20)]
LOTS = 3
COMMANDS = 40
POOL_SIZE = 1
# Longer than a batch takes on a busy machine: nobody would ever finish one.
CUT_EVERY_S = 1.0
PLENTY = 1_000_000


class Rollback(Exception):
    """A transaction that is given up just before its commit."""


class ChaoticUnitOfWork(PostgreSQLUnitOfWork):
    """Pauses with its locks held, and now and then gives up or loses its connection."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        super().__init__(database)
        self._chance = chance

    def _commit(self, events: Sequence[Event], causes: Sequence[Cause]) -> int | None:
        self._connection.execute("SELECT pg_sleep(%s)", [self._chance.uniform(0, 0.01)])
        match self._chance.randrange(300):
            case 0 | 1:
                raise Rollback
            case 2:
                self._connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return super()._commit(events, causes)


class Writer:
    """One of many that want the same stock, by transactions of a bus of its own."""

    def __init__(self, number: int, seed: int) -> None:
        self._number = number
        self._chance = random.Random(f"{seed}-{number}")

    def write(self, database_url: str, enough: Signal) -> Counter[str]:
        """Send commands until there are enough events; how they ended."""
        outcomes: Counter[str] = Counter()
        with Database(database_url, pool_size=POOL_SIZE) as database:
            bus = self._bus(database)
            for rounds in count():
                if enough.is_set():
                    return outcomes
                skus = self._chance.sample(SKUS, 2)
                answers = [bus.submit(self._command(rounds, n, skus)) for n in range(COMMANDS)]
                outcomes.update(_outcome(answer) for answer in answers)
        return outcomes

    def _bus(self, database: Database) -> MessageBus[PostgreSQLUnitOfWork]:
        ordinary = bootstrap(database, inline=False)
        return MessageBus(
            partial(ChaoticUnitOfWork, database, self._chance),
            command_handlers=ordinary._command_handlers,
            reactions=ordinary._reactions,
            original_positions=ordinary._original_positions,
            limits=Limits(apart=POOL_SIZE - 1),
        )

    def _command(self, rounds: int, n: int, skus: Sequence[str]) -> Command:
        sku = self._chance.choice(skus)
        if self._chance.random() < 0.002:
            quantity = self._chance.choice([self._chance.randrange(1, 5000), PLENTY])
            return ModifierQuantitéLot(f"lot-{self._chance.randrange(LOTS)}", quantity, sku)
        return Allouer(f"c-{self._number}-{rounds}", sku, self._chance.randrange(1, 5), str(n))


def _outcome(answer: Submitted) -> str:
    try:
        answer.result()
    except (Rollback, StorageUnavailable, VersionConflict) as failure:
        return type(failure).__name__
    return "done"


@pytest.fixture
def seed() -> int:
    """A new one for each run; SEED repeats an earlier one."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**9)))
    print(f"SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return seed


@pytest.mark.timeout(900)
def test_cent_mille_événements_de_cinquante_écrivains_se_replient_en_ce_que_montrent_les_vues(
    database: Database, database_url: str, seed: int, sql: Sql
) -> None:
    bus = bootstrap(database, inline=False)
    for sku in SKUS:
        for n in range(LOTS):
            bus.handle(CréerLot(f"lot-{n}", sku, PLENTY))
    register(projection_followers(database))

    with _followed_by_two(database_url):
        outcomes = _write_enough(database, database_url, seed)
        [[end]] = [tuple(row.values()) for row in sql("SELECT max(position) FROM journal")]
        wait_until_reached(database, end)

    events = _events(database)
    assert len(events) >= EVENTS
    assert outcomes["done"] > outcomes["Rollback"] > 0
    lines, lots = _fold(events)
    assert sql(
        "SELECT id_commande, sku, ligne, réf_lot, quantité FROM allocations_view ORDER BY 1, 2, 3"
    ) == [
        {"id_commande": order, "sku": sku, "ligne": number, "réf_lot": lot, "quantité": units}
        for (order, sku, number), (lot, units) in sorted(lines.items())
    ]
    assert sql("SELECT sku, réf, quantité, quantité_allouée FROM lots_view ORDER BY 1, 2") == [
        {"sku": sku, "réf": réf, "quantité": held, "quantité_allouée": taken}
        for (sku, réf), (held, taken) in sorted(lots.items())
    ]
    assert _applied(sql) == _expected_to_be_applied(events)
    assert list(verify(database, projection_followers(database))) == []
    assert {reader.parked for reader in progress(database)} == {0}


@contextmanager
def _followed_by_two(database_url: str) -> Iterator[None]:
    """Two workers, each with all readers, whose connections are cut as well."""
    enough = Signal()
    with Database(database_url) as one, Database(database_url) as other:
        cutter = Thread(target=_cut_connections, args=[one, enough])
        cutter.start()
        with ExitStack() as workers:
            for database in (one, other):
                waker = Waker()
                workers.enter_context(JournalListener(database.sessions, waker))
                followers = journal_followers(database, Settings())
                workers.enter_context(Projector(followers, waker, poll_interval=0.1))
            try:
                yield
            finally:
                enough.set()
                cutter.join()


def _cut_connections(database: Database, enough: Signal) -> None:
    """Now and then, end a session of a reader in the middle of its work."""
    victim = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ILIKE '%allocations_view%'
        LIMIT 1
    """
    while not enough.wait(CUT_EVERY_S):
        with suppress(StorageUnavailable), database.working() as connection:
            connection.execute(text(victim))


def _write_enough(database: Database, database_url: str, seed: int) -> Counter[str]:
    """Let all write until the journal has enough events; how their commands ended."""
    enough = Signal()
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(Writer(n, seed).write, database_url, enough) for n in range(WRITERS)]
        try:
            while not any(writer.done() for writer in writers) and not enough.wait(0.2):
                with database.reading() as connection:
                    if PostgreSQLJournal(connection).last_position() >= EVENTS:
                        enough.set()
        finally:
            enough.set()
        return sum((writer.result() for writer in writers), Counter())


def _events(database: Database) -> list[Event]:
    with database.working() as connection:
        journal = PostgreSQLJournal(connection)
        events: list[Event] = []
        position = 0
        while batch := journal.read(position, 10_000):
            assert [each.position for each in batch] == sorted(each.position for each in batch)
            events += [each.event for each in batch]
            position = batch[-1].position
        return events


def _fold(
    events: Sequence[Event],
) -> tuple[dict[tuple[str, str, str], tuple[str, int]], dict[tuple[str, str], list[int]]]:
    """The allocated lines and the lots after these events, each of which must fit to those before it."""
    lines: dict[tuple[str, str, str], tuple[str, int]] = {}
    lots: dict[tuple[str, str], list[int]] = {}
    for event in events:
        match event:
            case LotCréé():
                lots[event.sku, event.réf_lot] = [event.quantité, 0]
            case QuantitéLotModifiée():
                assert lots[event.sku, event.réf_lot][0] == event.quantité_précédente
                lots[event.sku, event.réf_lot][0] = event.quantité
            case Alloué():
                key = (event.id_commande, event.sku, event.ligne)
                assert key not in lines
                lines[key] = (event.réf_lot, event.quantité)
                lots[event.sku, event.réf_lot][1] += event.quantité
            case Désalloué():
                del lines[event.id_commande, event.sku, event.ligne]
                lots[event.sku, event.réf_lot][1] -= event.quantité
        assert all(0 <= taken <= held for held, taken in (lots[réf] for réf in _lots_of(event)))
    return lines, lots


def _lots_of(event: Event) -> Sequence[tuple[str, str]]:
    return () if isinstance(event, RuptureDeStock) else ((event.sku, vars(event)["réf_lot"]),)


def _applied(sql: Sql) -> dict[str, int]:
    return {row["name"]: row["appliqués"] for row in sql("SELECT name, appliqués FROM projections")}


def _expected_to_be_applied(events: Sequence[Event]) -> dict[str, int]:
    of_lines = sum(isinstance(event, Alloué | Désalloué) for event in events)
    of_lots = sum(isinstance(event, LotCréé | QuantitéLotModifiée) for event in events)
    both = of_lines + of_lots
    return {"allocations_view": of_lines, "lots_view": both, "stock_view": both}
