"""Roles that may do little, installations that share a database, and who may read a rebuilt table."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.integration.conftest import Run
from tests.postgresql_server import Server

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.rights import RightMissing
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.rebuild import RebuildRefused, rebuild, request
from allocation.projections.undo import undo
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.handlers import ALLOCATIONS_CHANNEL

Administer = Callable[[str], None]
ROLES = ("boutique", "lecteur", "patron")


@pytest.fixture
def administer(server: Server) -> Iterator[Administer]:
    """Runs a statement as the superuser, in an empty database where `boutique` may create nothing."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS allocation_rights WITH (FORCE)")
        for role in ROLES:
            connection.execute(f"DROP ROLE IF EXISTS {role}".encode())
            connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        connection.execute("CREATE DATABASE allocation_rights")
    with psycopg.connect(server.url, dbname="allocation_rights", autocommit=True) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")

        def administer(statement: str) -> None:
            connection.execute(statement.encode())

        yield administer
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE allocation_rights WITH (FORCE)")
        for role in ROLES:
            connection.execute(f"DROP ROLE {role}".encode())


@pytest.fixture
def connected(server: Server) -> Iterator[Callable[..., Database]]:
    """The database of these tests, as a role sees it."""
    opened: list[Database] = []

    def connect(schema: str | None = None, role: str = "boutique") -> Database:
        opened.append(Database(_url(server, role), schema=schema))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()


def _url(server: Server, role: str) -> str:
    return psycopg.conninfo.make_conninfo(server.url, dbname="allocation_rights", user=role)


def _sell(database: Database, order: str = "c-1") -> None:
    bus = bootstrap(database)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer(order, "LAMPE", 1))


def _orders(database: Database) -> list[str]:
    rows = database.fetch("SELECT id_commande FROM allocations_view ORDER BY id_commande", {})
    return [row["id_commande"] for row in rows]


def test_un_rôle_qui_ne_possède_que_son_schéma_suffit_pour_tout_sauf_reconstruire(
    administer: Administer, connected: Callable[..., Database]
) -> None:
    administer("CREATE SCHEMA boutique AUTHORIZATION boutique")
    database = connected()

    migrate(database)
    _sell(database)

    followers = projection_followers(database)
    assert _orders(database) == ["c-1"]
    assert list(verify(database, followers)) == []
    with pytest.raises(RebuildRefused, match=r"CREATE SCHEMA boutique_building AUTHORIZATION boutique$"):
        request(database, followers[0].projection)


def test_ce_qu_un_administrateur_a_préparé_suffit_pour_reconstruire(
    administer: Administer, connected: Callable[..., Database]
) -> None:
    for name in ("boutique", "boutique_building", "boutique_previous"):
        administer(f"CREATE SCHEMA {name} AUTHORIZATION boutique")
    database = connected("boutique")
    migrate(database)
    _sell(database)

    for follower in projection_followers(database):
        assert rebuild(database, follower).phase == "done"
        undo(database, follower)

    assert _orders(database) == ["c-1"]
    assert list(verify(database, projection_followers(database))) == []


def test_deux_installations_partagent_une_base_sans_se_gêner(
    administer: Administer, connected: Callable[..., Database]
) -> None:
    administer("GRANT CREATE ON DATABASE allocation_rights TO boutique")
    administer("GRANT CREATE ON SCHEMA public TO boutique")
    administer("CREATE SCHEMA nord AUTHORIZATION boutique")
    plain, north = connected("public"), connected("nord")
    for database in (plain, north):
        migrate(database)

    with plain.sessions.listen(ALLOCATIONS_CHANNEL) as of_plain, plain.writing() as writer:
        # In the midst of an append to one journal, the other goes on.
        writer.execute("BEGIN")
        writer.execute("SELECT pg_advisory_xact_lock(5274190661)")
        _sell(north, "c-nord")
        writer.execute("ROLLBACK")
        _sell(plain, "c-public")
        [heard] = list(of_plain.notifies(timeout=10, stop_after=1))
    for database in (plain, north):
        assert [rebuild(database, each).phase for each in projection_followers(database)] == ["done"] * 3

    assert "c-public" in heard.payload
    assert (_orders(plain), _orders(north)) == (["c-public"], ["c-nord"])


@pytest.mark.parametrize(
    ("prepared", "schema", "helps"),
    [
        ((), "boutique", "CREATE SCHEMA name AUTHORIZATION boutique"),
        (("CREATE SCHEMA boutique",), "boutique", "GRANT USAGE ON SCHEMA name TO boutique"),
        ((), "public", "GRANT CREATE ON SCHEMA public TO boutique$"),
    ],
)
def test_le_droit_qui_manque_est_dit_avec_l_ordre_qui_aide(
    administer: Administer,
    connected: Callable[..., Database],
    prepared: tuple[str, ...],
    schema: str,
    helps: str,
) -> None:
    for statement in prepared:
        administer(statement)

    with pytest.raises(RightMissing, match=helps) as missing:
        migrate(connected(schema))
    assert "\n" not in str(missing.value)


def test_un_rôle_qui_sert_sans_posséder_apprend_ce_qu_il_lui_faut(
    administer: Administer, connected: Callable[..., Database]
) -> None:
    administer("CREATE SCHEMA boutique AUTHORIZATION patron")
    migrate(connected("boutique", role="patron"))
    serving = connected("boutique")

    administer("GRANT USAGE ON SCHEMA boutique TO boutique")
    administer("GRANT SELECT ON boutique.alembic_version TO boutique")
    for _ in range(2):
        with pytest.raises(RightMissing) as missing:
            migrate(serving)
        administer(str(missing.value).partition(": ")[2])
    migrate(serving)
    _sell(serving)

    assert _orders(serving) == ["c-1"]


@pytest.fixture
def read_by_lecteur(
    administer: Administer, connected: Callable[..., Database], server: Server
) -> dict[str, str]:
    """The settings for a role that may only read an installation in which something was sold."""
    administer("CREATE SCHEMA boutique AUTHORIZATION patron")
    owned = connected("boutique", role="patron")
    migrate(owned)
    _sell(owned)
    administer("GRANT USAGE ON SCHEMA boutique TO lecteur")
    administer("GRANT SELECT ON ALL TABLES IN SCHEMA boutique TO lecteur")
    return {"ALLOCATION_DATABASE_URL": _url(server, "lecteur"), "ALLOCATION_DATABASE_SCHEMA": "boutique"}


@pytest.mark.parametrize("command", ["verify", "projections", "journal", "parked list"])
@pytest.mark.parametrize("read_only", [False, True])
def test_lire_suffit_aux_commandes_qui_ne_changent_rien(
    administer: Administer, read_by_lecteur: dict[str, str], run: Run, command: str, *, read_only: bool
) -> None:
    administer(f"ALTER ROLE lecteur SET default_transaction_read_only = {read_only}")

    finished = run(*command.split(), **read_by_lecteur)

    assert finished.status == 0, finished.stderr


@pytest.mark.parametrize(
    "command",
    [
        "verify --repair",
        "rebuild stock_view",
        "rebuild stock_view --undo",
        "parked retry stock_view",
        "parked discard stock_view --yes",
        "journal archive --before 2001-01-01",
        "import lots lots.csv",
    ],
)
def test_une_commande_qui_écrit_dit_en_commençant_le_droit_qui_manque(
    read_by_lecteur: dict[str, str],
    run: Run,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lots.csv").write_text("réf,sku,quantité\nlot-2,LAMPE,5\n")

    finished = run(*command.split(), **read_by_lecteur)

    assert finished.status == 1
    assert (
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA boutique TO lecteur" in finished.stderr
    )


def test_après_une_reconstruction_chacun_peut_lire_ce_qu_il_pouvait_lire(
    administer: Administer, connected: Callable[..., Database]
) -> None:
    for name in ("boutique", "boutique_building", "boutique_previous"):
        administer(f"CREATE SCHEMA {name} AUTHORIZATION boutique")
    administer("GRANT USAGE ON SCHEMA boutique TO lecteur")
    database = connected("boutique")
    migrate(database)
    _sell(database)
    administer("GRANT SELECT (id_commande, sku) ON boutique.allocations_view TO lecteur WITH GRANT OPTION")
    administer("GRANT SELECT ON boutique.stock_view TO PUBLIC")
    before = _rights(database)

    for follower in projection_followers(database):
        rebuild(database, follower)
    rebuilt = _rights(database)
    administer("REVOKE ALL (id_commande, sku) ON boutique.allocations_view FROM lecteur")
    administer("GRANT SELECT ON boutique.allocations_view TO lecteur")
    changed = _rights(database)
    for follower in projection_followers(database):
        undo(database, follower)

    assert rebuilt == before
    assert _rights(database) == changed
    with connected("boutique", role="lecteur").reading() as connection:
        assert connection.exec_driver_sql("SELECT id_commande FROM allocations_view").scalars().all() == [
            "c-1"
        ]
        assert connection.exec_driver_sql("SELECT sku FROM stock_view").scalars().all() == ["LAMPE"]


def _rights(database: Database) -> list[dict[str, object]]:
    """Who owns the serving tables, and may do what with them and their columns."""
    return database.fetch(
        """
        SELECT relname, relowner::regrole::text AS owner,
               ARRAY(SELECT acl::text FROM unnest(relacl) AS acl
                     WHERE acl::text NOT LIKE relowner::regrole || '=%%' ORDER BY 1) AS rights,
               ARRAY(SELECT attname || ' ' || attacl::text FROM pg_attribute
                     WHERE attrelid = pg_class.oid AND attacl IS NOT NULL ORDER BY 1) AS of_columns
        FROM pg_class WHERE relnamespace = 'boutique'::regnamespace AND relname LIKE '%%\\_view'
        ORDER BY relname
        """,
        {},
    )
