"""Events that a newer program has written: skipped, told, counted; nobody stops, nothing else is missed."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from allocation.adapters import journal as journal_module
from allocation.adapters.database import Database
from allocation.adapters.journal import SqlAlchemyJournal
from allocation.adapters.serialization import UPCASTS
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.events import Alloué, LotCréé
from allocation.entrypoints.flask_app import create_app
from allocation.projections.delivery import Subscription
from allocation.projections.follower import SubscriptionFollower
from allocation.projections.projector import catch_up
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.views import progress, views
from allocation.views.progress import UnknownEvents, unknown_events

Sql = Callable[..., list[dict[str, Any]]]

APPEND = (
    "INSERT INTO journal (id, type, version, sku, data)"
    " VALUES (gen_random_uuid(), :type, :version, 'LAMPE', CAST(:data AS jsonb))"
)


@pytest.fixture
def end(database: Database, sql: Sql) -> int:
    """A journal with a newer version and an unknown type between events that everybody knows; its end."""
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 1))
    for n in range(3):
        sql(APPEND, type="Alloué", version=2, data=json.dumps({"neuf": n}))
    sql(APPEND, type="Inventé", version=1, data="{}")
    position = bus.handle(Allouer("c-2", "LAMPE", 2)).position
    assert position == 7
    return position


def test_la_lecture_les_saute_sans_rien_manquer_derrière(
    end: int, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    journal_module._warn_once.cache_clear()
    with database.reading() as connection, caplog.at_level(logging.WARNING):
        journal = SqlAlchemyJournal(connection)
        assert [each.position for each in journal.read(0, 3)] == [1, 2, 7]
        assert [each.position for each in journal.read(2, 1)] == [7]
        assert len(journal.read_events([LotCréé, Alloué], after=0, until=end)) == 3

    assert sorted(record.getMessage() for record in caplog.records) == [
        "events of a newer program are skipped: unknown event: Alloué, version 2",
        "events of a newer program are skipped: unknown event: Inventé, version 1",
    ]


def test_les_vues_et_les_abonnements_vont_jusqu_au_bout(end: int, database: Database) -> None:
    received: list[str] = []
    subscription = SubscriptionFollower(
        Subscription("essai"),
        {Alloué: lambda batch, connection: received.extend(each.event.id_commande for each in batch)},
        database,
    )
    subscription.starts_now = False  # type: ignore[misc]
    followers = (*projection_followers(database), subscription)
    for follower in followers:
        follower.register()

    catch_up(followers, end)

    assert views.stock("LAMPE", database) is not None
    assert len(views.allocations("c-2", database)) == 1
    assert received == ["c-1", "c-2"]


def test_elles_sont_comptées_dans_les_métriques(end: int, database: Database) -> None:
    client = create_app(bootstrap(database), database).test_client()

    metrics = client.get("/metrics").text

    assert 'allocation_unknown_events{type="Alloué",version="2"} 3.0' in metrics
    assert 'allocation_unknown_events{type="Inventé",version="1"} 1.0' in metrics


def test_ce_que_le_programme_a_appris_à_lire_n_est_plus_compté(
    end: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(UPCASTS, ("Alloué", 2), lambda fields: fields)

    assert unknown_events(database) == [UnknownEvents("Inventé", 1, 1)]


def test_les_compter_ne_lit_que_les_plus_récents(
    end: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "UNKNOWN_AMONG", 3)

    assert unknown_events(database) == [UnknownEvents("Alloué", 2, 1), UnknownEvents("Inventé", 1, 1)]
