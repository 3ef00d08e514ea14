"""Migrations that were edited after they had landed: what their former forms made becomes like the rest."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.former_schema import database_at

from allocation.adapters.embedded.embedded_postgresql import EmbeddedPostgreSQL
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.service_layer.bootstrap import bootstrap

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
