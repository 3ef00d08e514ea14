"""Migrations that were edited after they had landed: what their former forms made becomes like the rest."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.former_schema import database_at

from allocation.adapters.embedded.embedded_postgresql import EmbeddedPostgreSQL
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers

# From what a migration makes today to what its former form made.
FORMER_0001 = """
    ALTER TABLE allocations DROP CONSTRAINT allocations_sku_rang_fkey;
    ALTER TABLE order_lines
        DROP CONSTRAINT order_lines_pkey,
        ADD CONSTRAINT order_lines_pkey PRIMARY KEY (sku, id_commande, ligne),
        DROP CONSTRAINT order_lines_rang_sku_key,
        ADD CONSTRAINT order_lines_sku_rang_key UNIQUE (sku, rang);
    ALTER TABLE allocations ADD CONSTRAINT allocations_sku_rang_fkey
        FOREIGN KEY (sku, rang) REFERENCES order_lines (sku, rang);
    DROP INDEX allocations_du_lot_idx;
    CREATE INDEX allocations_du_lot_idx ON allocations (sku, réf_lot, rang);
"""
FORMER_0002 = "ALTER TABLE rebuilds DROP COLUMN pas_avant;"

ALLOCATED = (
    "INSERT INTO produits VALUES ('LAMPE', 2, 1)",
    "INSERT INTO lots VALUES ('LAMPE', 'lot-1', 10, 10, 4)",
    "INSERT INTO order_lines VALUES ('LAMPE', 'c-1', '1', 4, 1)",
    "INSERT INTO allocations VALUES ('LAMPE', 1, 'lot-1')",
)

# What version 0.2.0 leaves, whose journal has fields alone: a lot that was corrected, and a line on it.
OF_0_2_0 = """
    INSERT INTO produits VALUES ('LAMPE', 3, 1, 2);
    INSERT INTO lots VALUES ('LAMPE', 'lot-1', 9, 10, 4);
    INSERT INTO order_lines VALUES ('LAMPE', 'c-1', '1', 4, 1);
    INSERT INTO allocations VALUES ('LAMPE', 1, 'lot-1');
    INSERT INTO journal (id, type, version, sku, data)
    SELECT gen_random_uuid(), type, 1, 'LAMPE', data || '{"sku": "LAMPE", "réf_lot": "lot-1"}'
    FROM (VALUES
        ('LotCréé', jsonb '{"quantité": 9, "eta": null}'),
        ('QuantitéLotModifiée', '{"quantité": 10, "quantité_précédente": 9}'),
        ('Alloué', '{"quantité": 4, "id_commande": "c-1", "ligne": "1"}')
    ) AS event (type, data);
"""

CATALOGUE = """
    SELECT conrelid::regclass::text AS on_table, conname AS name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT table_name, column_name, concat_ws(' ', data_type, column_default, is_nullable)
    FROM information_schema.columns WHERE table_schema = 'public'
    ORDER BY 1, 2, 3
"""


# Functions and triggers of the schema's own; the system's names of foreign keys' triggers are numbers.
ROUTINES = """
    SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
"""


def catalogue(database: Database) -> list[Any]:
    with database.working() as connection:
        return list(connection.exec_driver_sql(CATALOGUE).all())


@pytest.fixture
def former(server: EmbeddedPostgreSQL) -> Iterator[Database]:
    """A database at revision 0003, with an allocated line in it."""
    with database_at("0003", server.url, "allocation_former", *ALLOCATED) as database:
        yield database


@pytest.mark.parametrize("edits", [[], [FORMER_0001], [FORMER_0002], [FORMER_0001, FORMER_0002]])
def test_chaque_forme_passée_donne_la_même_base(
    former: Database, database: Database, edits: list[str]
) -> None:
    with former.working() as connection, connection.begin():
        for edit in edits:
            connection.exec_driver_sql(edit)

    migrate(former)

    assert catalogue(former) == catalogue(database)
    bus = bootstrap(former, inline=False)
    bus.handle(CréerLot("lot-2", "LAMPE", 10))
    assert bus.handle(Allouer("c-1", "LAMPE", 4)) == ["lot-1"]
    assert [ligne.id_commande for ligne in bus.handle(ModifierQuantitéLot("lot-1", 3))[0]] == ["c-1"]


def test_une_base_de_0_2_0_se_migre_tout_droit(server: EmbeddedPostgreSQL, database: Database) -> None:
    """Without a stop at version 0.3.0, when no program of 0.2.0 works meanwhile."""
    with database_at("0006", server.url, "allocation_0_2_0", OF_0_2_0) as before:
        migrate(before)

        assert catalogue(before) == catalogue(database)
        with before.reading() as connection:
            assert connection.exec_driver_sql(ROUTINES).scalars().all() == ["journal_completed"]
        bus = bootstrap(before)
        assert bus.handle(Allouer("c-1", "LAMPE", 4)) == ["lot-1"]
        assert bus.handle(Allouer("c-2", "LAMPE", 6)) == ["lot-1"]
        assert list(verify(before, projection_followers(before))) == []
