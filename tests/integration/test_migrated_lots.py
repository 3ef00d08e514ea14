"""Lots of before they were known by their SKU and their reference: numbered in the order of their receipt."""

from collections.abc import Iterator

import pytest
from tests.former_schema import database_at, migrate_to
from tests.postgresql_server import Server

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.projector import register
from allocation.projections.rebuild import Rebuilder, run
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.views import views

# Of the first two lots, the journal has archived the receipt.
BEFORE = """
    INSERT INTO produits VALUES ('LAMPE', 9, 0, 9), ('TABLE', 1, 0, 1);
    INSERT INTO lots VALUES
        ('LAMPE', 'b', 10, 10, 0), ('LAMPE', 'a', 10, 10, 0), ('LAMPE', 'lot-10', 10, 10, 0),
        ('LAMPE', 'lot-9', 10, 10, 0), ('TABLE', 'z', 10, 10, 0);
    INSERT INTO journal (id, type, version, sku, data)
    SELECT gen_random_uuid(), type, 1, sku,
           json_build_object('réf_lot', réf, 'sku', sku, 'quantité', 10, 'quantité_précédente', 5)
    FROM (VALUES
        ('LotCréé', 'LAMPE', 'lot-10'), ('LotCréé', 'TABLE', 'z'), ('LotCréé', 'LAMPE', 'lot-9'),
        ('QuantitéLotModifiée', 'LAMPE', 'lot-10')
    ) AS event (type, sku, réf);
"""
RECEIVED_BY_0_2_0 = "INSERT INTO lots VALUES ('LAMPE', '0', 10, 10, 0, NULL)"
# In this order, with one that 0.2.0 receives on the schema of 0.3.0, and one that today's program receives.
RECEIVED = ["a", "b", "lot-10", "lot-9", "0", "00"]
IN_ORDER = "SELECT référence FROM lots WHERE sku = 'LAMPE' ORDER BY rang"
KEY = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'lots_view'::regclass AND contype = 'p'
"""


@pytest.fixture
def before(server: Server) -> Iterator[Database]:
    """A database as version 0.2.0 has left it."""
    with database_at("0006", server.url, "allocation_lots", BEFORE) as database:
        yield database


def test_les_lots_sont_numérotés_dans_l_ordre_de_leur_réception(before: Database) -> None:
    migrate_to("0008", before, RECEIVED_BY_0_2_0)
    migrate(before)

    bus = bootstrap(before, inline=False)
    bus.handle(CréerLot("00", "LAMPE", 10))
    with before.reading() as connection:
        assert connection.exec_driver_sql(IN_ORDER).scalars().all() == RECEIVED
    assert [bus.handle(Allouer(f"c-{n}", "LAMPE", 10))[0] for n in range(6)] == RECEIVED


def test_une_vue_qui_ne_sert_pas_encore_a_sa_clé_d_aujourd_hui(before: Database) -> None:
    migrate(before)

    assert _key_of_lots_view(before) == "réf, sku"


def test_une_vue_qui_sert_est_reconstruite_à_côté_de_celle_que_connaît_la_version_d_avant(
    before: Database,
) -> None:
    with before.working() as connection, connection.begin():
        connection.exec_driver_sql("INSERT INTO projections (name, position) VALUES ('lots_view', 0)")
    migrate(before)
    assert _key_of_lots_view(before) == "réf"
    bootstrap(before, inline=False).handle(CréerLot("z", "LAMPE", 10))

    followers = projection_followers(before)
    register(followers)
    [of_lots] = [each for each in followers if each.name == "lots_view"]
    rebuilder = Rebuilder(before, of_lots)
    rebuilder.begin_if_changed()
    run(rebuilder, lambda: None)

    assert _key_of_lots_view(before) == "réf, sku"
    assert list(verify(before, [of_lots], only_read_models=True)) == []
    assert [
        lot and lot["sku"] for sku in ("LAMPE", "TABLE") for lot in [views.lot("z", before, sku=sku)]
    ] == [
        "LAMPE",
        "TABLE",
    ]


def _key_of_lots_view(database: Database) -> str:
    with database.reading() as connection:
        definition: str = connection.exec_driver_sql(KEY).scalar_one()
    return definition.replace('"', "").removeprefix("PRIMARY KEY (").removesuffix(")")
