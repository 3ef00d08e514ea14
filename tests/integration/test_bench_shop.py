"""What the benchmarks put into databases by SQL is what the program itself would have put there."""

from collections.abc import Iterator

import pytest
from benchmarks.laboratory import Laboratory, UnfitServer, fetch, laboratory
from benchmarks.pgbench import pgbench
from benchmarks.shop import FEW_LINES, SPREAD, SPREAD_FAMILY, open_shop, receive, strip
from tests.postgresql_server import Server

from allocation.adapters.postgresql.database import Database
from allocation.projections.verify import Difference, verify
from allocation.service_layer.bootstrap import projection_followers

LINES = 50

_OTHER_KEYS = """
    SELECT count(*) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'u')
"""
_OTHER_INDEXES = """
    SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = 'public'::regnamespace AND NOT indisprimary
"""
_WITHOUT_KEY = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)
"""


@pytest.fixture
def shop_url(server: Server) -> Iterator[str]:
    lab = Laboratory(server.url)
    url = lab.create("shop")
    open_shop(url, LINES)
    yield url
    lab.drop_all()


def differences(url: str) -> list[Difference]:
    with Database(url) as database:
        return list(verify(database, projection_followers(database)))


def test_la_boutique_est_cohérente(shop_url: str) -> None:
    assert differences(shop_url) == []
    assert fetch(shop_url, "SELECT count(*) FROM allocations_view") == [(LINES + FEW_LINES,)]
    assert fetch(shop_url, "SELECT count(*) FROM stock_view") == [(len(SPREAD) + 2,)]


def test_le_sql_comparé_écrit_ce_qu_une_allocation_écrit(shop_url: str) -> None:
    receive(shop_url, ["CHAUD-1"])

    rate = pgbench(shop_url, "allocate.sql", clients=2, seconds=1, family="CHAUD", articles=1)

    assert rate > 0
    assert fetch(shop_url, "SELECT quantité_allouée > 0 FROM lots WHERE sku = 'CHAUD-1'") == [(True,)]
    assert differences(shop_url) == []


def test_les_tables_nues_n_ont_que_leurs_clés_primaires(shop_url: str) -> None:
    strip(shop_url)

    assert fetch(shop_url, _OTHER_KEYS) == [(0,)]
    assert fetch(shop_url, _OTHER_INDEXES) == [(0,)]
    assert fetch(shop_url, _WITHOUT_KEY) == []
    assert pgbench(shop_url, "allocate.sql", clients=2, seconds=1, family=SPREAD_FAMILY, articles=2) > 0


def test_le_serveur_de_mesure_confirme_sur_le_disque() -> None:
    with laboratory() as lab:
        assert lab.settings["fsync"] == "on"


def test_un_serveur_qui_a_trop_peu_de_connexions_n_est_pas_mesuré(server: Server) -> None:
    with pytest.raises(UnfitServer, match="max_connections must be at least"):
        Laboratory(server.url).check()
