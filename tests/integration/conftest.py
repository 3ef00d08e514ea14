"""The bus on a real database, and what tests need to look behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import make_url, text
from tests.loop_client import DrivenClient, NewClient, loop_client
from tests.wire import Wire

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.entrypoints.event_loop.rsgi_app import LoopApp
from allocation.entrypoints.flask_app import create_app
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus

Sql = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def bus(database: Database) -> MessageBus[PostgreSQLUnitOfWork]:
    """A bus that brings the views up to date before it answers."""
    return bootstrap(database)


@pytest.fixture
def wire(database_url: str, tmp_path: Path) -> Iterator[Wire]:
    host = Path(str(make_url(database_url).query["host"]))
    wire = Wire(tmp_path, str(host / ".s.PGSQL.5432"))
    yield wire
    wire.close()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody may enter, and a home of this test's own."""
    with TemporaryDirectory(prefix="allocation-tests-") as directory:
        Path(directory).chmod(0o755)
        monkeypatch.setenv("XDG_STATE_HOME", f"{directory}/state")
        yield Path(directory)


@pytest.fixture
def sql(database: Database) -> Sql:
    """Runs a statement by hand and commits it; the rows, if it gives any."""

    def run(statement: str, **parameters: object) -> list[dict[str, Any]]:
        with database.working() as connection, connection.begin():
            result = connection.execute(text(statement), parameters)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    return run


@pytest.fixture(params=["flask", "loop"])
def new_client(request: pytest.FixtureRequest) -> Iterator[NewClient]:
    """Makes clients of the program's HTTP, by each of the two drivers."""
    with ExitStack() as opened:

        def new(bus: MessageBus[Any], database: Database) -> DrivenClient:
            metrics = HttpMetrics(database)
            flask_app = create_app(bus, database, metrics=metrics)
            if request.param == "flask":
                return DrivenClient(flask_app, database.reads)
            return opened.enter_context(loop_client(LoopApp(bus, database, flask_app, metrics)))

        yield new
