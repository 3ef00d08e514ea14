"""A real PostgreSQL for the whole run, and in it a database of its own for each test that asks for one."""

import os
import signal
import socket
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import make_url
from tests.postgresql_server import OTHER_PROGRAMS, Server, running_server

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate

TEMPLATE = "allocation_template"

VERSION = pytest.StashKey[str]()

# How long an example may take says more about the machine than about the program.
settings.register_profile("allocation", deadline=None)
settings.load_profile("allocation")

_numbers = count(1)


def pytest_configure() -> None:
    """Let Ctrl-C stop what the tests start: a run in the background ignores it, and passes that on."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say on which PostgreSQL the tests run."""
    return f"PostgreSQL: {OTHER_PROGRAMS or 'the embedded one'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the embedded PostgreSQL where the tests run on another one."""
    about_embedded = [item for item in items if OTHER_PROGRAMS and item.get_closest_marker("embedded")]
    config.hook.pytest_deselected(items=about_embedded)
    items[:] = [item for item in items if item not in about_embedded]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say on which version of PostgreSQL the tests ran."""
    if VERSION in config.stash:
        terminalreporter.write_line(f"Ran on {config.stash[VERSION]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where nothing may be skipped, fail when something was."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("TEST_NO_SKIPS") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALLOCATION_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server() as running:
        with psycopg.connect(running.url) as connection:
            [version] = connection.execute("SELECT version()").fetchone() or ()
        request.config.stash[VERSION] = version
        yield running


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """The name of a database that has the schema, and nothing in it."""
    _execute(server, f"CREATE DATABASE {TEMPLATE}")
    with Database(_url(server, TEMPLATE)) as database:
        migrate(database)
    return TEMPLATE


@pytest.fixture
def database_url(server: Server, template: str) -> Iterator[str]:
    """The URL of a database with the schema that no other test sees."""
    name = f"allocation_test_{next(_numbers)}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _url(server, name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database(database_url) as database:
        yield database


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    return find_free_port()


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _url(server: Server, name: str) -> str:
    return make_url(server.url).set(database=name).render_as_string(hide_password=False)


def _execute(server: Server, statement: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement.encode())
