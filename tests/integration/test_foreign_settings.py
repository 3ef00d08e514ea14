"""Whatever the server, the database, the role, the environment or the address sets, the program works."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text
from tests.integration.conftest import Sql
from tests.postgresql_server import Server

from allocation.adapters.postgresql import sessions
from allocation.adapters.postgresql.connection_info import connection_info
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.adapters.postgresql.sessions import EVERYWHERE, UnsuitableServer, check_server
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.entrypoints.cli.app import main
from allocation.projections.rebuild import rebuild
from allocation.projections.undo import undo
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers

# What an operator may decide: whether the database may be written at all, whom a session works for, what
# names and texts look like, and what is kept about sessions.
OPERATORS = {
    "default_transaction_read_only",
    "transaction_read_only",
    "transaction_isolation",
    "transaction_deferrable",
    "role",
    "session_authorization",
    "client_encoding",
    "default_table_access_method",
    "restrict_nonsystem_relation_kind",
}
ODD = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "search_path": "public, pg_temp",
    "extra_float_digits": "-15",
    "statement_timeout": "250ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "20ms",
    "idle_session_timeout": "20ms",
    "transaction_timeout": "250ms",
}


@pytest.fixture
def odd(server: Server, database_url: str) -> Iterator[Database]:
    """A database in which every setting that a session may change has another value than usual."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        rows = connection.execute(
            """
            SELECT name, CASE vartype WHEN 'bool' THEN CASE boot_val WHEN 'on' THEN 'off' ELSE 'on' END
                         ELSE (SELECT each FROM unnest(enumvals) AS each WHERE each <> boot_val LIMIT 1) END
            FROM pg_settings
            WHERE context = 'user' AND vartype IN ('bool', 'enum') AND NOT name = ANY (%s)
            """,
            [[*OPERATORS]],
        ).fetchall()
        known = {row[0] for row in connection.execute("SELECT name FROM pg_settings")}
        chosen = {setting: value for setting, value in rows if value is not None}
        for setting, value in (chosen | {name: ODD[name] for name in ODD if name in known}).items():
            statement = psycopg.sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                psycopg.sql.Identifier(name), psycopg.sql.Identifier(setting), psycopg.sql.Literal(value)
            )
            if setting == "search_path":
                statement = psycopg.sql.SQL("ALTER DATABASE {} SET search_path = public, pg_temp").format(
                    psycopg.sql.Identifier(name)
                )
            connection.execute(statement)
    with Database(database_url) as database:
        yield database


def test_tout_ce_qu_une_session_peut_changer_est_autrement_et_rien_ne_change(odd: Database) -> None:
    migrate(odd)
    bus = bootstrap(odd)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    for n in range(8):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 1))
    bus.handle(ModifierQuantitéLot("lot-1", 5))
    followers = projection_followers(odd)

    for follower in followers:
        assert rebuild(odd, follower).phase == "done"
        undo(odd, follower)

    assert list(verify(odd, followers)) == []
    assert len(odd.fetch("SELECT * FROM allocations_view", {})) == 5


def test_une_durée_limitée_par_la_base_n_arrête_pas_un_long_travail(odd: Database) -> None:
    for connected in (odd.working, odd.following):
        with connected() as connection, connection.begin():
            connection.execute(text("SELECT pg_sleep(0.5)"))


def test_aucune_durée_limitée_par_la_base_ne_court_avant_la_première_instruction(
    odd: Database, database_url: str
) -> None:
    """Behind a pooler, a transaction sets the rest by a statement that may itself take its time."""
    with sessions.Sessions(connection_info(database_url)).connect() as connection:
        in_force = connection.execute(
            """
            SELECT name, setting FROM pg_settings
            WHERE name ~ '^(idle|statement|transaction).*_timeout$' AND setting::int > 0
            """
        ).fetchall()

    assert in_force == []


def test_une_session_dont_les_réglages_échouent_est_fermée(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_SET", "SELECT 1 / 0")
    ours = sessions.Sessions(connection_info(database_url))
    connection = ours.connect()

    with pytest.raises(psycopg.errors.DivisionByZero):
        ours.set_up(connection)

    assert connection.closed


def test_la_durabilité_ne_dépend_pas_de_la_base_et_n_est_jamais_affaiblie(
    database: Database, database_url: str, sql: Sql
) -> None:
    effective = []
    for chosen in ("off", "remote_apply"):
        name = sql("SELECT current_database() AS name")[0]["name"]
        sql(f"ALTER DATABASE {name} SET synchronous_commit = {chosen}")
        with Database(database_url) as fresh, fresh.writing() as writer, fresh.working() as worker:
            effective.append(writer.execute("SHOW synchronous_commit").fetchone())
            effective.append(tuple(worker.execute(text("SHOW synchronous_commit")).one()))

    assert effective == [("on",), ("on",), ("remote_apply",), ("remote_apply",)]


@pytest.mark.parametrize("place", ["address", "role", "environment"])
def test_le_chemin_de_recherche_donné_du_dehors_est_suivi_par_toutes_les_connexions(
    server: Server, database_url: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute("CREATE SCHEMA ailleurs")
        if place == "role":
            connection.execute(f'ALTER ROLE postgres IN DATABASE "{name}" SET search_path = ailleurs')
    if place == "environment":
        monkeypatch.setenv("PGOPTIONS", "-c search_path=ailleurs")
    url = f"{database_url}&options=-c%20search_path%3Dailleurs" if place == "address" else database_url

    with Database(url) as database:
        migrate(database)
        bootstrap(database).handle(CréerLot("lot-1", "LAMPE", 10))
        assert database.fetch("SELECT en_stock FROM stock_view", {}) == [{"en_stock": 10}]
        assert database.fetch("SELECT count(*) AS n FROM public.stock_view", {}) == [{"n": 0}]
        assert list(verify(database, projection_followers(database))) == []


def test_vérifier_ne_remplit_jamais_la_vraie_table_même_si_les_temporaires_viennent_en_dernier(
    database: Database, database_url: str, sql: Sql
) -> None:
    name = sql("SELECT current_database() AS name")[0]["name"]
    bootstrap(database).handle(CréerLot("lot-1", "LAMPE", 10))
    sql(f"ALTER DATABASE {name} SET search_path = public, pg_temp")

    with Database(database_url) as fresh:
        assert list(verify(fresh, projection_followers(fresh))) == []
        assert len(fresh.fetch("SELECT * FROM lots_view", {})) == 1


def test_une_base_qui_n_est_pas_en_utf8_est_refusée_en_une_ligne(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS allocation_latin1")
        connection.execute(
            "CREATE DATABASE allocation_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
    url = psycopg.conninfo.make_conninfo(server.url, dbname="allocation_latin1")

    said = _said_by_every_command(url, monkeypatch, capsys)

    assert all("the database has the encoding LATIN1, and UTF8 is needed" in line for line in said)


def test_un_serveur_trop_ancien_est_refusé_en_une_ligne_par_chaque_commande(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sessions, "MIN_VERSION", 990_000)

    said = _said_by_every_command(database_url, monkeypatch, capsys)

    assert all("PostgreSQL 99 or newer is needed, and this server has " in line for line in said)


def test_la_version_et_l_encodage_décident() -> None:
    check_server(150_000, "UTF8")
    with pytest.raises(UnsuitableServer, match=r"PostgreSQL 15 or newer is needed.* 14\.22$"):
        check_server(140_022, "UTF8")
    with pytest.raises(UnsuitableServer, match="SQL_ASCII"):
        check_server(150_000, "SQL_ASCII")


def test_chaque_réglage_est_connu_du_serveur(sql: Sql) -> None:
    known = {row["name"] for row in sql("SELECT name FROM pg_settings")}

    assert EVERYWHERE.keys() - known <= {"transaction_timeout"}


def _said_by_every_command(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """The one line that each command that needs a database ends with."""
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "300")
    said = []
    for command in (
        "worker",
        "migrate",
        "projections",
        "verify",
        "journal",
        "rebuild stock_view",
        "parked list",
    ):
        monkeypatch.setattr("sys.argv", ["allocation", *command.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        [line] = capsys.readouterr().err.splitlines()
        assert ended.value.code == 1
        said.append(line)
    return said
