"""The page on read models of one's own, followed to the letter."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import documents
from tests.e2e.conftest import ALLOCATION, RunAllocation
from tests.waiting import eventually

from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.service_layer.bootstrap import bootstrap

PAGE = documents.DOCS / "how-to" / "a-read-model-of-your-own.md"


@pytest.fixture(scope="module")
def snippets() -> dict[str, list[str]]:
    """What the page shows, by language."""
    return documents.snippets(PAGE)


@pytest.fixture(scope="module", params=["in Python", "in SQL"])
def installed(
    request: pytest.FixtureRequest,
    snippets: dict[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Where the page's package is installed, with its handler in Python or in SQL."""
    file, _, in_sql = snippets["python"]
    if request.param == "in SQL":
        handlers = file.splitlines()[-1]
        file = f"{file}\n\n{in_sql}\n\n{handlers}\n"
    project, target = tmp_path_factory.mktemp("promised"), tmp_path_factory.mktemp("installed")
    (project / "promised").mkdir()
    (project / "promised" / "__init__.py").touch()
    (project / "promised" / "read_model.py").write_text(file, "utf-8")
    (project / "pyproject.toml").write_text(snippets["toml"][0], "utf-8")
    assert snippets["sh"] == ["pip install .\n"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(project)], check=True, capture_output=True)
    return target


@pytest.fixture
def shop(database: Database) -> Database:
    """What happened before the package was installed."""
    bus = bootstrap(database)
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    for n in range(5):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 10))
    return database


@pytest.fixture
def with_package(
    allocation: RunAllocation, installed: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return allocation(*arguments, PYTHONPATH=str(installed))

    return run


@pytest.fixture
def worker(shop: Database, database_url: str, installed: Path) -> Iterator[None]:
    """The worker, with the package installed."""
    environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url, "PYTHONPATH": str(installed)}
    with subprocess.Popen([ALLOCATION, "worker"], env=environment) as process:
        yield
        process.terminate()


def promised(snippets: dict[str, list[str]], database: Database) -> list[dict[str, Any]]:
    names: dict[str, Any] = {}
    exec(snippets["python"][1], names)
    rows: list[dict[str, Any]] = names["promised"]("LAMPE", database)
    return rows


@pytest.mark.usefixtures("worker")
def test_le_modèle_de_lecture_d_un_autre_paquet_se_remplit_et_suit_le_journal(
    snippets: dict[str, list[str]],
    shop: Database,
    with_package: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    eventually(lambda: _has_table(shop) and promised(snippets, shop) == [{"units": 50, "lines": 5}])

    bus = bootstrap(shop, inline=False)
    bus.handle(Allouer("c-5", "LAMPE", 10))
    bus.handle(ModifierQuantitéLot("lot-1", 35))
    eventually(lambda: promised(snippets, shop) == [{"units": 30, "lines": 3}])

    assert "promised_view" in with_package("projections").stdout
    assert with_package("verify", "promised_view").returncode == 0
    rebuilt = with_package("rebuild", "promised_view")
    assert (rebuilt.returncode, rebuilt.stdout) == (
        0,
        "promised_view: rebuilt from the journal, 14 events\n",
    )
    assert promised(snippets, shop) == [{"units": 30, "lines": 3}]


def test_sans_le_paquet_la_vue_est_inconnue(allocation: RunAllocation, shop: Database) -> None:
    assert allocation("rebuild", "promised_view").returncode == 2


def test_verify_trouve_ce_qui_manque_au_modèle_sans_vérité_et_repair_le_remet(
    shop: Database, with_package: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert with_package("rebuild", "promised_view").returncode == 0
    with shop.working() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE promised_view SET units = units + 1")

    finished = with_package("verify", "--repair")

    assert "promised_view: unexpected {'sku': 'LAMPE', 'units': 51, 'lines': 5}" in finished.stdout
    assert finished.returncode == 0


def _has_table(database: Database) -> bool:
    with database.working() as connection:
        return bool(connection.exec_driver_sql("SELECT to_regclass('promised_view') IS NOT NULL").scalar())
