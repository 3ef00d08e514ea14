"""Upgrading while it runs: the last released version works on today's schema, and today's on its database."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import make_url
from tests.e2e.conftest import RunAllocation
from tests.postgresql_server import Server
from tests.released import PROJECT, Release, ReleasedProgram, last_release, unpacked

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.entrypoints.flask_app import create_app
from allocation.service_layer.bootstrap import bootstrap

MIGRATIONS = "src/allocation/migrations/versions"

# What reads and writes, from HTTP to the database and back, as that version has it.
READS_AND_WRITES = ("tests/integration/test_http.py", "tests/integration/test_le_chapitre.py")
CHOSEN = "TestAllouer or TestLots or TestStock or TestReconstructions or chapitre"
AT_LEAST = 25

# With its read models, each in the form that this version writes to.
MAKE = """
import sys
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.service_layer.bootstrap import bootstrap

with Database(sys.argv[1]) as database:
    migrate(database)
    bootstrap(database)
"""

FILL = """
import sys
from datetime import date
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.service_layer.bootstrap import bootstrap

url, begin, prefix = sys.argv[1:]
with Database(url) as database:
    if begin == "new":
        migrate(database)
    bus = bootstrap(database)
    bus.handle(CréerLot(f"{prefix}-1", "LAMPE", 50))
    bus.handle(CréerLot(f"{prefix}-2", "LAMPE", 50, date(2027, 1, 31)))
    for n in range(20):
        bus.handle(Allouer(f"{prefix}-{n}", "LAMPE", 4))
    bus.handle(Allouer(f"{prefix}-rupture", "LAMPE", 1000))
    bus.handle(ModifierQuantitéLot(f"{prefix}-1", 20))
"""

# What an installation has after a while: an archive, events that a reader has put aside, half a rebuild.
AGE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from allocation.adapters.postgresql.database import Database
from allocation.adapters.journal.archiving import JournalArchiver
from allocation.domain.commands import Allouer
from allocation.domain.events import Alloué
from allocation.projections.delivery import Projection
from allocation.projections.follower import ProjectionFollower
from allocation.projections.rebuild import Rebuilder, request
from allocation.service_layer.bootstrap import bootstrap, projection_followers

url, archive = sys.argv[1:]

def fail(events, connection):
    raise ValueError("not today")

with Database(url) as database:
    followers = {each.name: each for each in projection_followers(database)}
    report = JournalArchiver(database, Path(archive), chunk=10).archive(datetime.now(UTC), lambda *_: None)
    assert report.events > 20 and report.snapshot is not None

    bootstrap(database, inline=False).handle(Allouer("mise-à-part", "LAMPE", 1))
    for name in ("lots_view", "stock_view"):
        followers[name].advance(wait=True)
    failing = ProjectionFollower(followers["allocations_view"].projection, {Alloué: fail}, database)
    for _ in range(3):
        try:
            failing.advance(wait=True)
        except ValueError:
            pass

    request(database, followers["stock_view"].projection, source="snapshot")
    Rebuilder(database, followers["stock_view"]).advance()
"""


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> ReleasedProgram:
    """The last released version, whose tests get databases that today's program has migrated."""
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    program = unpacked(last_release(changelog), tmp_path_factory.mktemp("released"))
    shutil.copy(PROJECT / "tests" / "released_conftest.py", program.folder / "tests" / "conftest.py")
    return program


@pytest.fixture
def empty_url(server: Server) -> Iterator[str]:
    """The URL of a database without any table."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE allocation_before")
        yield make_url(server.url).set(database="allocation_before").render_as_string(hide_password=False)
        connection.execute("DROP DATABASE allocation_before WITH (FORCE)")


@pytest.fixture
def migrated_template(released: ReleasedProgram, server: Server) -> Iterator[str]:
    """The name of a database that the released version has made, and that today's program has migrated."""
    name = "allocation_released_template"
    url = make_url(server.url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        finished = released.run("-c", MAKE, url)
        assert finished.returncode == 0, finished.stderr
        with Database(url) as database:
            migrate(database)
        yield name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def fill(program: ReleasedProgram, url: str, begin: str, prefix: str) -> None:
    """Let the program receive, allocate, run out of stock and correct, under references of its own."""
    finished = program.run("-c", FILL, url, begin, prefix)
    assert finished.returncode == 0, finished.stderr


def migrations(project: Path) -> set[str]:
    """The names of the migrations that the project has."""
    return {file.name for file in (project / MIGRATIONS).glob("[0-9]*.py")}


@pytest.fixture
def today(allocation: RunAllocation, empty_url: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Today's `allocation` on the database that was empty."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return allocation(*arguments, ALLOCATION_DATABASE_URL=empty_url)

    return run


def state(client: FlaskClient) -> list[Any]:
    """What the views say."""
    paths = ("/stock/LAMPE", "/lots/old-1", "/allocations/old-3", "/stock/LAMPE/histoire?limit=1000")
    return [client.get(path).json for path in paths]


def test_les_tests_de_la_version_publiée_passent_sur_le_schéma_d_aujourd_hui(
    released: ReleasedProgram, server: Server, migrated_template: str
) -> None:
    finished = released.run(
        *("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", CHOSEN, *READS_AND_WRITES),
        TEST_SERVER_URL=server.url,
        TEST_TEMPLATE=migrated_template,
    )

    assert finished.returncode == 0, finished.stdout[-5000:] + finished.stderr
    passed = re.search(r"(\d+) passed", finished.stdout)
    assert passed is not None
    assert int(passed[1]) >= AT_LEAST


def test_une_base_de_la_version_publiée_se_migre_et_sert_aujourd_hui(
    released: ReleasedProgram, today: Callable[..., subprocess.CompletedProcess[str]], empty_url: str
) -> None:
    fill(released, empty_url, "new", "old")

    to_do = migrations(PROJECT) > migrations(released.folder)
    assert today("verify").returncode == (1 if to_do else 0)
    assert today("migrate", "--check").returncode == (3 if to_do else 0)
    assert today("migrate").returncode == 0
    assert today("verify").returncode == 0

    # A worker does so by itself, where today's program keeps a view in another form.
    for view in ("allocations_view", "lots_view", "stock_view"):
        assert today("rebuild", view).returncode == 0
    with Database(empty_url) as database:
        client = create_app(bootstrap(database), database).test_client()
        line = {"id_commande": "old-3", "sku": "LAMPE", "quantité": 4}
        assert client.post("/allocate", json=line).status_code == 200
        assert (
            client.post("/allocate", json={**line, "id_commande": "nouvelle", "quantité": 2}).status_code
            == 201
        )
        assert client.patch("/lots/old-1", json={"quantité": 40}).status_code == 200
        stock, lot, [allocated], history = state(client)
    assert (stock["en_stock"], stock["alloué"]) == (40, 70)
    assert lot["quantité"] == 40
    assert allocated["réf_lot"] in {"old-1", "old-2"}
    assert {event["type"] for event in history["histoire"]} == {
        "LotCréé",
        "Alloué",
        "Désalloué",
        "QuantitéLotModifiée",
        "RuptureDeStock",
    }
    assert today("rebuild", "allocations_view", "--from", "journal").returncode == 0
    assert today("verify").returncode == 0


def test_les_deux_versions_travaillent_ensemble_sur_le_nouveau_schéma(
    released: ReleasedProgram, today: Callable[..., subprocess.CompletedProcess[str]], empty_url: str
) -> None:
    fill(released, empty_url, "new", "old")
    assert today("migrate").returncode == 0

    fill(released, empty_url, "go on", "still")
    with Database(empty_url) as database:
        bus = bootstrap(database)
        bus.handle(CréerLot("today-1", "LAMPE", 10))
        bus.handle(Allouer("today-1", "LAMPE", 5))
        bus.handle(ModifierQuantitéLot("still-1", 8))
    fill(released, empty_url, "go on", "last")

    assert today("verify").returncode == 0
    with Database(empty_url) as database, database.reading() as connection:
        orders = connection.exec_driver_sql("SELECT id_commande FROM order_lines").scalars().all()
        lots = connection.exec_driver_sql("SELECT référence FROM lots ORDER BY rang").scalars().all()
    assert {"old-3", "still-3", "today-1", "last-3"} <= set(orders)
    assert lots == ["old-1", "old-2", "still-1", "still-2", "today-1", "last-1", "last-2"]


def test_une_base_qui_a_vécu_se_migre_avec_ses_archives_ses_événements_à_part_et_sa_reconstruction(
    released: ReleasedProgram,
    today: Callable[..., subprocess.CompletedProcess[str]],
    empty_url: str,
    tmp_path: Path,
) -> None:
    fill(released, empty_url, "new", "old")
    archive = str(tmp_path / "archive")
    aged = released.run("-c", AGE, empty_url, archive)
    assert aged.returncode == 0, aged.stderr
    assert today("migrate").returncode == 0
    fill(released, empty_url, "go on", "still")

    assert "allocations_view" in today("verify").stdout
    assert today("parked", "retry", "allocations_view", "LAMPE").returncode == 0
    assert today("rebuild", "stock_view", "--from", "snapshot").returncode == 0
    assert today("rebuild", "allocations_view", "--from", "journal").returncode == 0
    assert today("verify").returncode == 0

    with Database(empty_url) as database:
        bootstrap(database).handle(Allouer("today-1", "LAMPE", 5))
    before = "2100-01-01T00:00:00Z"
    assert today("journal", "archive", "--before", before, "--dir", archive).returncode == 0
    fill(released, empty_url, "go on", "last")
    assert today("verify").returncode == 0


def test_la_version_publiée_se_lit_dans_le_journal_des_changements() -> None:
    commit, other = "a" * 40, "b" * 40
    changelog = f"""# Changelog
## Unreleased
Commit: {"c" * 40}
## [0.3.0] - 2027-01-31
Not pushed yet.
## 0.2.0 — 2026-12-31 (commit {commit})
## [0.1.0] - 2026-11-25

Commit: {other}
"""

    assert last_release(changelog) == Release("0.2.0", commit)
    assert last_release(changelog.replace("(commit ", "(")) == Release("0.1.0", other)
    with pytest.raises(LookupError):
        last_release("## Unreleased\n")
