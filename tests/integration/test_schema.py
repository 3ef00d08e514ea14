"""The schema: migrated to what the tables declare, once, and never used when it is newer."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text
from tests.postgresql_server import Server

from allocation.adapters import notifications, orm
from allocation.adapters.journal import archive, checkpoints, journal
from allocation.adapters.postgresql import schema
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.metadata import metadata
from allocation.adapters.postgresql.schema import (
    SchemaTooNew,
    SchemaTooOld,
    check,
    is_usable,
    migrate,
    pending,
    schema_compatibility,
)
from allocation.adapters.read_models import rebuilds, tables
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.errors import StockInsuffisant
from allocation.service_layer.bootstrap import bootstrap

WRITE_TABLES = (orm.produits, orm.lots, orm.order_lines, orm.allocations)
MODULES = (checkpoints, journal, archive, notifications, orm, tables, rebuilds, schema)


@pytest.fixture
def empty(server: Server) -> Database:
    """A database without any table."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS allocation_empty WITH (FORCE)")
        connection.execute("CREATE DATABASE allocation_empty")
    return Database(make_url(server.url).set(database="allocation_empty").render_as_string())


def test_la_migration_donne_exactement_les_tables_que_le_code_déclare(database: Database) -> None:
    with database.working() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})

        assert compare_metadata(context, metadata) == []
    assert len(metadata.tables) >= len(MODULES)


def test_une_base_vide_est_migrée_par_plusieurs_processus_à_la_fois(empty: Database) -> None:
    with empty.reading() as connection:
        assert not is_usable(connection)

    with ThreadPoolExecutor(4) as processes:
        list(processes.map(lambda _: migrate(empty), range(4)))

    with empty.reading() as connection:
        assert is_usable(connection)
    empty.close()


def test_alembic_connaît_les_mêmes_révisions_dans_le_même_ordre() -> None:
    """Ours are read from file names, so that a program whose schema is current need not load Alembic."""
    config = Config()
    config.set_main_option("script_location", "allocation:migrations")
    newest_first = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert list(reversed(newest_first)) == schema._known_revisions()


def made_by_a_newer_program(database: Database, *, oldest_program: str) -> None:
    with database.working() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(schema_compatibility.update().values(oldest_program=oldest_program))


def test_un_schéma_plus_récent_qui_ne_convient_plus_est_refusé_avec_un_mot_clair(database: Database) -> None:
    made_by_a_newer_program(database, oldest_program="9998")

    for use in (migrate, partial(check, writing=False), pending):
        with pytest.raises(SchemaTooNew, match="schema 9999, which this version of allocation does not know"):
            use(database)
    with database.reading() as connection:
        assert not is_usable(connection)


def test_un_schéma_plus_récent_qui_convient_encore_est_utilisé_tel_quel(database: Database) -> None:
    made_by_a_newer_program(database, oldest_program=schema._known_revisions()[-1])

    migrate(database)
    check(database, writing=True)

    assert pending(database) == []
    with database.reading() as connection:
        assert is_usable(connection)
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


# What an expanding migration may do, where no row is written that gives the new columns a value of its own.
EXPANDED = """
    ALTER TABLE produits ADD nouvelle integer NOT NULL DEFAULT 7;
    ALTER TABLE lots ADD nouvelle boolean GENERATED ALWAYS AS (quantité_allouée < quantité) STORED;
    ALTER TABLE order_lines ADD nouvelle integer NOT NULL DEFAULT 7;
    ALTER TABLE allocations ADD nouvelle integer NOT NULL DEFAULT 7;
    ALTER TABLE ruptures ADD nouvelle integer NOT NULL DEFAULT 7;
"""


def test_les_colonnes_qu_une_version_plus_récente_ajoute_gardent_leur_défaut(database: Database) -> None:
    with database.working() as connection, connection.begin():
        connection.exec_driver_sql(EXPANDED)
    bus = bootstrap(database, inline=False)

    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    assert bus.handle(Allouer("c-1", "LAMPE", 10)) == ["lot-1"]
    assert isinstance(bus.handle(Allouer("c-2", "LAMPE", 1)).refusal, StockInsuffisant)

    with database.reading() as connection:
        for table in (*WRITE_TABLES, orm.ruptures):
            values = connection.exec_driver_sql(f"SELECT DISTINCT nouvelle FROM {table.name}").scalars().all()
            assert values == ([False] if table is orm.lots else [7]), table.name


@pytest.mark.parametrize(("newest", "works"), [("0006", False), ("0007", False), ("0008", True)])
def test_le_schéma_convient_à_la_version_publiée_et_refuse_celles_d_avant(
    database: Database, monkeypatch: pytest.MonkeyPatch, newest: str, *, works: bool
) -> None:
    """Version 0.2.0 was written for schema 0006, 0.3.0 for 0008."""
    known = schema._known_revisions()
    monkeypatch.setattr(schema, "_known_revisions", lambda: known[: known.index(newest) + 1])

    with database.reading() as connection:
        assert is_usable(connection) is works


def test_la_table_de_versions_d_un_autre_programme_n_est_pas_prise_pour_la_nôtre(empty: Database) -> None:
    with empty.working() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE alembic_version AS SELECT 'ab12cd' AS version_num")

    with pytest.raises(SchemaTooNew, match="ab12cd"):
        migrate(empty)
    empty.close()


def test_ce_que_la_migration_ferait_est_dit_sans_rien_faire(empty: Database) -> None:
    planned = pending(empty)

    with pytest.raises(SchemaTooOld, match=r"no tables of allocation yet: .* `allocation migrate`"):
        check(empty, writing=True)
    assert [each.revision for each in planned] == schema._known_revisions()
    assert planned[0].purpose == "The write model, the journal, the checkpoints, and the first read models."
    migrate(empty)
    assert pending(empty) == []
    empty.close()


def test_chaque_table_d_écriture_porte_le_sku_dans_sa_clé() -> None:
    """So that all rows of one allocation can live on one node of a distributed PostgreSQL."""
    for table in WRITE_TABLES:
        assert "sku" in table.primary_key.columns, table.name


def test_les_noms_des_tables_sont_en_ascii(database: Database) -> None:
    with database.working() as connection:
        names = inspect(connection).get_table_names()

    assert all(name.isascii() for name in names)
