"""Events that a newer program has written: skipped, told, counted; nobody stops, nothing else is missed."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.loop_client import NewClient

from allocation.adapters.journal import rows, serialization
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.serialization import UPCASTS, UnknownEvent
from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, CréerLot
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
    rows._warn_once.cache_clear()
    with database.reading() as connection, caplog.at_level(logging.WARNING):
        journal = PostgreSQLJournal(connection)
        assert [each.position for each in journal.read(0, 3)] == [1, 2, 7]
        assert [each.position for each in journal.read(2, 1)] == [7]

    assert sorted(record.getMessage() for record in caplog.records) == [
        "events of a newer program are skipped: unknown event: Alloué, version 2",
        "events of a newer program are skipped: unknown event: Inventé, version 1",
    ]


def test_un_type_inconnu_est_passé_par_les_vues_et_une_version_plus_récente_est_attendue(
    end: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads an unknown type, but a newer version is for readers that don't understand it yet."""
    followers = projection_followers(database)
    for follower in followers:
        follower.register()
        with pytest.raises(UnknownEvent, match="Alloué, version 2"):
            follower.advance(wait=True)

    monkeypatch.setitem(UPCASTS, ("Alloué", 2), _as_today)
    monkeypatch.setitem(serialization._VALIDATORS, ("Alloué", 3), serialization._VALIDATORS["Alloué", 1])
    catch_up(followers, end)

    assert [reader.behind for reader in progress.progress(database) if reader.kind == "projection"] == [0] * 3
    assert len(views.allocations("neuve-2", database)) == 1
    assert len(views.allocations("c-2", database)) == 1


def _as_today(fields: dict[str, Any]) -> dict[str, Any]:
    known = {"sku": "LAMPE", "quantité": 1, "réf_lot": "lot-1", "ligne": "1"}
    return known | {"id_commande": f"neuve-{fields['neuf']}"}


def test_elles_sont_comptées_dans_les_métriques(end: int, database: Database, new_client: NewClient) -> None:
    client = new_client(bootstrap(database), database)

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
