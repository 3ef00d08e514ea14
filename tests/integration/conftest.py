"""The bus on a real database, and what tests need to look behind it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from sqlalchemy import make_url, text
from tests.loop_client import DrivenClient, NewClient, loop_client
from tests.wire import Wire

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.entrypoints.cli import main
from allocation.entrypoints.event_loop.rsgi_app import LoopApp
from allocation.entrypoints.flask_app import create_app
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus

Sql = Callable[..., list[dict[str, Any]]]


class Finished(NamedTuple):
    status: int
    stdout: str
    stderr: str


Run = Callable[..., Finished]


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


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> Iterator[Run]:
    """Runs `allocation` with the given arguments and variables in this process."""
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def start(*arguments: str, **variables: str) -> Finished:
        monkeypatch.setattr("sys.argv", ["allocation", *arguments])
        with monkeypatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main()
        printed = capsys.readouterr()
        return Finished(int(left.value.code or 0), printed.out, printed.err)

    yield start
    for each, handler in handlers.items():
        signal.signal(each, handler)
