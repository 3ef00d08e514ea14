"""The program as users run it: `allocation serve` in its own processes, and the other commands beside it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from tests.conftest import find_free_port
from tests.postgresql_server import OTHER_PROGRAMS, OtherServer, kill_all, let_user_own_data, other_server
from tests.waiting import PATIENCE_S, eventually

FLASK = [sys.executable, "-m", "flask", "--app", "allocation.entrypoints.flask_app", "run"]
ALLOCATION = str(Path(sys.executable).with_name("allocation"))

RunAllocation = Callable[..., subprocess.CompletedProcess[str]]


class Service:
    """`allocation serve`, which can be stopped, killed, and started again, with its database.

    That is the embedded one, unless the tests run on another: then `server` is one of the service's own.
    """

    def __init__(
        self, data_dir: Path, port: int, server: OtherServer | None, *options: str, **variables: str
    ) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.log = data_dir / "serve.log"
        self._server = server
        self._command = [ALLOCATION, "serve", "--port", str(port), *options]
        self.environment = {"ALLOCATION_DATA_DIR": str(data_dir)} | variables
        if server is not None:
            self.environment.setdefault("ALLOCATION_DATABASE_URL", server.url)

    def start(self) -> None:
        """Start the service, and its database where it does not do so itself; return when it is ready."""
        if self._server is not None:
            self._server.start()
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                self._command, env=os.environ | self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the service answers that it is ready."""

        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200

        eventually(ready)

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ask the service to stop; its exit status."""
        self.process.send_signal(stop_signal)
        status: int = self.process.wait(PATIENCE_S)
        return status

    def kill_everything(self) -> None:
        """SIGKILL to every process of the service, the database server's included."""
        kill_all(self.process, psutil.Process(self.postmaster_pid))
        self.process.wait()

    @property
    def postmaster_pid(self) -> int:
        if self._server is not None:
            return self._server.pid
        return int((self.data_dir / "postgresql" / "postmaster.pid").read_text().split()[0])

    def wait_until_caught_up(self) -> None:
        """Return when the views have everything that the journal had."""
        [[end]] = self.query("SELECT max(position) FROM journal")
        eventually(lambda: not self.query(f"SELECT name FROM projections WHERE position < {end}"))

    @property
    def database_url(self) -> str:
        """The URL of the service's database."""
        if self._server is not None:
            return self._server.url
        return f"postgresql://postgres@/allocation?host={self.data_dir / 'postgresql'}"

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """What the service's database says."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of `allocation`, on the same data."""
        return _run(arguments, os.environ | self.environment)


@contextmanager
def running_service(*options: str, **variables: str) -> Iterator[Service]:
    """A running service with data and settings of its own, which is stopped in the end."""
    with (
        TemporaryDirectory(prefix="allocation-e2e-", ignore_cleanup_errors=True) as directory,
        other_server() if OTHER_PROGRAMS else nullcontext() as server,
    ):
        if server is None:
            let_user_own_data(Path(directory))
        service = Service(Path(directory), find_free_port(), server, *options, **variables)
        try:
            service.start()
            yield service
        finally:
            if service.process.poll() is None:
                service.stop()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A running service, with two API processes, that tests share and leave running."""
    with running_service("--workers", "2") as service:
        yield service


@pytest.fixture
def own_service() -> Iterator[Service]:
    """A running service of this test's own."""
    with running_service("--workers", "2") as service:
        yield service


@pytest.fixture
def sku() -> str:
    """A SKU that no other test uses."""
    return f"SKU-{uuid4()}"


@pytest.fixture
def allocation(database_url: str) -> RunAllocation:
    """Runs `allocation` with the given arguments on an empty database of this test's own."""
    environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url}

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return _run(arguments, environment | variables)

    return run


@pytest.fixture
def allocation_json(allocation: RunAllocation) -> Callable[..., Any]:
    """Runs `allocation … --json`, which must succeed; what it prints, line by line."""

    def run(*arguments: str) -> list[Any]:
        finished = allocation(*arguments, "--json")
        assert finished.returncode == 0, finished.stderr
        return [json.loads(line) for line in finished.stdout.splitlines()]

    return run


def _run(arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    # Rich wraps to the width of the terminal; there is none here.
    return subprocess.run(
        [ALLOCATION, *arguments],
        env=environment | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def flask_shop() -> Iterator[httpx.Client]:
    """A client of the app under `flask run`, whose embedded database has just been made."""
    with TemporaryDirectory(prefix="allocation-e2e-", ignore_cleanup_errors=True) as directory:
        let_user_own_data(Path(directory))
        url = f"http://127.0.0.1:{(port := find_free_port())}"
        log = Path(directory) / "flask.log"
        with log.open("wb") as output:
            process = psutil.Popen(
                [*FLASK, "--port", str(port)],
                env=os.environ | {"ALLOCATION_DATA_DIR": directory},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return httpx.get(f"{url}/health/live", timeout=PATIENCE_S).status_code == 200

        try:
            eventually(ready)
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                yield client
        finally:
            # As Ctrl-C does: the app stops the database that it has started.
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
