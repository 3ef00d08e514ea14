"""Reads over HTTP that a loop sends together: each gets its own answer, the one that Flask gives, too."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

import pytest
from sqlalchemy import text
from tests.loop_client import ClientOf, DrivenClient, answer_of
from tests.waiting import eventually
from werkzeug.test import TestResponse

from allocation.adapters.event_loop.grouped_reads import SESSIONS, GroupedReads
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.fetching import RawRow
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.service_layer.messagebus import MessageBus

Bus = MessageBus[PostgreSQLUnitOfWork]

KNOWN, ASKED = 12, 40
VIEWS = "allocations_view, lots_view, stock_view"


class Question(NamedTuple):
    """A request for one view."""

    path: str
    skus: tuple[str, ...] = ()

    def ask(self, client: DrivenClient) -> TestResponse:
        if self.skus:
            return client.post(self.path, json={"skus": self.skus})
        return client.get(self.path)


def questions() -> list[Question]:
    """What is known and what is not, of all views, in an order without order."""
    found = [
        question
        for n in range(ASKED)
        for question in (
            Question(f"/allocations/c-{n}"),
            Question(f"/lots/lot-{n}"),
            Question(f"/lots/lot-{n}?sku=SKU-{n}"),
            Question(f"/stock/SKU-{n}"),
            Question("/disponibilités", (f"SKU-{ASKED - n}", f"SKU-{n}", "INCONNU")),
        )
    ]
    # Several ask the same, too.
    found += found[::7]
    Random(1).shuffle(found)
    return found


@pytest.fixture
def loop_and_flask(bus: Bus, database: Database, client_of: ClientOf) -> tuple[DrivenClient, DrivenClient]:
    """Two clients of a shop in which no two keys have the same answer."""
    for n in range(KNOWN):
        bus.submit(CréerLot(f"lot-{n}", f"SKU-{n}", 100 + n)).result()
        bus.submit(Allouer(f"c-{n}", f"SKU-{n}", 1 + n)).result()
    bus.handle(Allouer("c-0", "SKU-1", 50))
    return client_of("loop", bus, database), client_of("flask", bus, database)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, object]]:
    """The keys that a loop was asked for."""
    keys: list[Mapping[str, object]] = []
    look_up = GroupedReads.look_up

    async def noted(reads: GroupedReads, query: str, key: Mapping[str, object]) -> RawRow:
        keys.append(key)
        return await look_up(reads, query, key)

    monkeypatch.setattr(GroupedReads, "look_up", noted)
    return keys


@contextmanager
def held_up(database: Database) -> Iterator[None]:
    """Nobody reads a view meanwhile."""
    with database.working() as connection, connection.begin():
        connection.execute(text(f"LOCK TABLE {VIEWS} IN ACCESS EXCLUSIVE MODE"))
        yield


def asked_at_once(
    client: DrivenClient, asked: list[Question], database: Database, all_wait: Callable[[], bool]
) -> list[TestResponse]:
    """The answers to questions that were all there before the first of them was answered."""
    with ThreadPoolExecutor(len(asked)) as readers:
        with held_up(database):
            answers: list[Future[TestResponse]] = [readers.submit(each.ask, client) for each in asked]
            eventually(all_wait)
            assert not any(answer.done() for answer in answers)
        return [answer.result() for answer in answers]


def test_beaucoup_de_clés_demandées_à_la_fois_ont_chacune_sa_réponse_celle_de_flask(
    loop_and_flask: tuple[DrivenClient, DrivenClient],
    database: Database,
    keys: list[Mapping[str, object]],
    groups: list[int],
) -> None:
    loop, flask = loop_and_flask
    asked = questions()

    together = asked_at_once(loop, asked, database, lambda: len(keys) == len(asked))

    told = dict(zip(asked, map(answer_of, together), strict=True))
    assert told == {question: answer_of(question.ask(flask)) for question in told}
    assert {status for status, _, _ in told.values()} == {200, 404}
    # No two orders have the same lines: an answer to another question would be seen.
    orders = [told[each][2] for each in told if each.path.startswith("/alloc") and told[each][0] == 200]
    assert len(set(orders)) == len(orders) == KNOWN
    # One statement for each session at first, and then a few for each view.
    assert sum(groups) == len(asked)
    assert len(groups) <= SESSIONS + 2 * 5
    assert max(groups) > len(asked) // 10


def test_une_référence_ambiguë_parmi_d_autres_n_est_refusée_qu_à_qui_la_demande(
    loop_and_flask: tuple[DrivenClient, DrivenClient], database: Database, keys: list[Mapping[str, object]]
) -> None:
    loop, flask = loop_and_flask
    for sku in ("SKU-0", "SKU-1"):
        loop.post("/lots", json={"réf": "double", "sku": sku, "quantité": 1})
    asked = [Question(f"/lots/{réf}") for réf in ("double", "lot-0", "double", "inconnu", "lot-1", "lot-2")]

    together = asked_at_once(loop, asked, database, lambda: len(keys) == len(asked))

    assert [answer.status_code for answer in together] == [409, 200, 409, 404, 200, 200]
    assert [answer_of(answer) for answer in together] == [answer_of(each.ask(flask)) for each in asked]
