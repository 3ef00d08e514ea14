"""A worker behind a pooler that gives each transaction another session (PgBouncer's transaction mode)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from tests.e2e.conftest import ALLOCATION
from tests.postgresql_server import USER
from tests.waiting import eventually, wait_until_reached

from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, CréerLot
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

CONFIGURATION = """
[databases]
* = host={host} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@pytest.fixture
def pooled_url(database_url: str, free_port: int, tmp_path: Path) -> Iterator[str]:
    """The database behind the pooler, which refuses to run as root."""
    if PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed")
    direct = make_url(database_url)
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(CONFIGURATION.format(host=direct.query["host"], port=free_port))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    url = make_url(f"postgresql://postgres@127.0.0.1:{free_port}/{direct.database}").render_as_string()
    with subprocess.Popen([PGBOUNCER, "-q", str(configuration)], user=USER) as pooler:
        eventually(lambda: _answers(url))
        yield url
        pooler.terminate()


def test_derrière_un_pooler_le_travailleur_suit_reconstruit_et_vérifie(
    database: Database, pooled_url: str
) -> None:
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    environment = os.environ | {
        "ALLOCATION_DATABASE_URL": pooled_url,
        "ALLOCATION_POLL_INTERVAL": "0.05",
        "COLUMNS": "200",
    }

    def allocation(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [ALLOCATION, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with subprocess.Popen([ALLOCATION, "worker"], env=environment) as worker:
        positions = [bus.handle(Allouer(f"c-{n}", "LAMPE", 1)).position for n in range(30)]
        wait_until_reached(database, positions[-1] or 0)
        rebuilt = [allocation("rebuild", "stock_view", "--from", each) for each in ("model", "journal")]
        verified = allocation("verify")
        worker.terminate()

    assert [(each.returncode, each.stderr) for each in rebuilt] == [(0, "")] * 2
    assert (verified.returncode, verified.stdout) == (0, "")
    assert list(verify(database, projection_followers(database))) == []


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
