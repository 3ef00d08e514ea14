"""A PostgreSQL server that a test may do anything to: it listens on TCP, and belongs to no other test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import psutil
import psycopg
from tests.conftest import find_free_port
from tests.postgresql_server import USER, kill_all, run_program

HOST = "127.0.0.1"
OWNER = "boutique"
SUPERUSER = "postgres"
DATABASE = "boutique"

SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "60",
    "min_wal_size": "32MB",
}


class OwnServer:
    """A server with data in `directory`, for a role that owns its database and is no superuser."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = find_free_port()
        self.data = directory / "data"

    def url(self, port: int | None = None) -> str:
        """How the shop connects, perhaps by way of another port."""
        return f"postgresql://{OWNER}@{HOST}:{port or self.port}/{DATABASE}"

    def create(self) -> None:
        """Make the data directory, start, and make the database."""
        run_program("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "-N")
        self.configure(SETTINGS)
        self.start()
        with self.administration("postgres") as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")

    def copy(self, primary: "OwnServer") -> None:
        """Become a standby of another server, and start."""
        source = f"host={HOST} port={primary.port} user={SUPERUSER} application_name=standby"
        run_program("pg_basebackup", "-d", source, "-D", self.data, "-R", "-c", "fast")
        self.start()

    def wait_for_standbys(self) -> None:
        """Answer for a commit only once a standby has it, from now on."""
        with self.administration() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")

    def configure(self, settings: dict[str, str]) -> None:
        """Change settings, from the next start on."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        """Start unless it runs, and return when it answers."""
        if not self.runs:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            options = f"-k '{self.directory}' -p {self.port}"
            log = self.directory / "log"
            run_program("pg_ctl", "-w", "-D", self.data, "-o", options, "-l", log, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop, if it runs."""
        if self.runs:
            run_program("pg_ctl", "-w", "-D", self.data, "-m", mode, "stop")

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        kill_all(self.postmaster)

    def restart_as_standby(self) -> None:
        """Start again as a server that only `promote` lets write."""
        self.stop()
        signal = self.data / "standby.signal"
        signal.touch()
        if USER is not None:
            shutil.chown(signal, USER)
        self.start()

    def promote(self) -> None:
        """Let a standby write, from now on."""
        run_program("pg_ctl", "-w", "-D", self.data, "promote")

    @contextmanager
    def administration(self, database: str = DATABASE) -> Iterator[psycopg.Connection]:
        """A connection of the superuser."""
        conninfo = f"host={self.directory} port={self.port} user={SUPERUSER} dbname={database}"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection

    def disconnect(self, role: str = OWNER) -> None:
        """End every session of the role."""
        with self.administration("postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role]
            )

    @property
    def postmaster(self) -> psutil.Process:
        """The first process of the server."""
        return psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))

    @property
    def runs(self) -> bool:
        """Whether the server's first process is there."""
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return self.postmaster.status() != psutil.STATUS_ZOMBIE
        return False


@contextmanager
def server_directory(parent: Path | None = None) -> Iterator[Path]:
    """A directory for a server's user, which is removed in the end."""
    directory = Path(mkdtemp(prefix="postgresql-", dir=parent))
    if USER is not None:
        shutil.chown(directory, USER)
    yield directory
    shutil.rmtree(directory)


@contextmanager
def own_server(directory: Path) -> Iterator[OwnServer]:
    """A new server, which runs; it is stopped in the end."""
    server = OwnServer(directory)
    try:
        server.create()
        yield server
    finally:
        server.stop("immediate")
