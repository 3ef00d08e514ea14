"""The bus on a real database, and what tests need to look behind it."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from sqlalchemy import make_url, text
from tests.loop_client import ClientOf, DrivenClient, NewClient, loop_client
from tests.wire import Wire

from allocation.adapters.event_loop.session import LoopSession
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.fetching import RawRow
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
def wired_database(database_url: str, wire: Wire) -> Iterator[Database]:
    """The test's database, by the wire."""
    with Database(wire.url(database_url)) as database:
        yield database


@pytest.fixture
def absent_database(free_port: int) -> Database:
    """A database that does not answer."""
    return Database(f"postgresql://allocation:motdepasse@127.0.0.1:{free_port}/absente")


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


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """Makes clients of the program's HTTP by the driver that is named, `flask` or `loop`."""
    with ExitStack() as opened:

        def new(driver: str, bus: MessageBus[Any], database: Database) -> DrivenClient:
            metrics = HttpMetrics(database)
            flask_app = create_app(bus, database, metrics=metrics)
            if driver == "flask":
                return DrivenClient(flask_app, database.reads)
            return opened.enter_context(loop_client(LoopApp(bus, database, flask_app, metrics)))

        yield new


@pytest.fixture(params=["flask", "loop"])
def new_client(request: pytest.FixtureRequest, client_of: ClientOf) -> NewClient:
    """Makes clients of the program's HTTP, by each of the two drivers."""
    return partial(client_of, request.param)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many keys each statement has had that a loop has sent."""
    groups: list[int] = []
    rows = LoopSession.rows

    async def counted(session: LoopSession, query: str, parameter: str) -> list[RawRow]:
        groups.append(len(json.loads(parameter)))
        return await rows(session, query, parameter)

    monkeypatch.setattr(LoopSession, "rows", counted)
    return groups


@pytest.fixture
def end_the_first_commit(sql: Sql) -> Callable[[], None]:
    """Has the server end the connection of the next one that commits events, which undoes what it did."""

    def prepare() -> None:
        sql("CREATE SEQUENCE attempts")
        sql(
            """
            CREATE FUNCTION end_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('attempts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
                RETURN NULL;
            END $$
            """
        )
        sql(
            "CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON journal DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION end_first()"
        )

    return prepare


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
