"""A real PostgreSQL that comes with the program, listens on a Unix socket only, and needs no installation.

Any number of processes may use the same data directory: the first to come starts the server, the last to
leave stops it. A shared file lock tells who is there; the kernel releases it even after `kill -9`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from fasteners import InterProcessLock, InterProcessReaderWriterLock
from psycopg import sql

from allocation.adapters.embedded.data_directory import (
    SUPERUSER,
    check_cluster,
    claim,
    create_cluster,
    give_files_to_owner,
    is_missing,
    last_words,
    make_data_dir,
    open_way,
    place_of_cluster,
    write_access_rules,
)
from allocation.adapters.embedded.postgresql_programs import (
    EmbeddedServerTrouble,
    account_of,
    programs_for,
)
from allocation.adapters.embedded.postmaster import (
    forget_dead_postmaster,
    is_starting,
    running_postmaster,
    start_postmaster,
    stop_postmaster,
)
from allocation.adapters.embedded.socket_directory import (
    PORT,
    SocketDirectory,
    settings_of_clients_set_aside,
)

logger = logging.getLogger(__name__)

DATABASE = "allocation"
# PostgreSQL's own default.
MIN_CONNECTIONS = 100
ANSWER_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 3
POLL_INTERVAL_S = 0.05
MIN_PAUSE_S = 0.5
MAX_PAUSE_S = 10.0

_STILL_IN_USE = "pre-existing shared memory block"
_SETTINGS: dict[str, str | int] = {
    "listen_addresses": "",
    # The server's working directory is its data directory, which is closed to all others.
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "port": PORT,
    "lc_messages": "C",
    "logging_collector": "off",
    # So that neither a full /dev/shm nor its clean-up when a user logs out does any harm.
    "dynamic_shared_memory_type": "mmap",
}


class EmbeddedPostgreSQL:
    """The server of one data directory; made by `embedded_postgresql`."""

    def __init__(self, data_dir: Path, connections: int) -> None:
        self._data_dir = data_dir
        self._pgdata = place_of_cluster(data_dir)
        self._log = data_dir / "postgresql.log"
        self._lock = InterProcessLock(data_dir / "server.lock")
        self._sockets = SocketDirectory(self._pgdata)
        self._connections = max(connections, MIN_CONNECTIONS)
        self._log_begins_at = 0
        self._pause = MIN_PAUSE_S
        self._due_at = 0.0
        self._told = ""

    @property
    def url(self) -> str:
        """The URL of the database, valid until the data directory is moved."""
        return self._sockets.url(SUPERUSER, DATABASE)

    def ensure_running(self) -> None:
        """Start the server unless it runs, and wait until it answers; after a crash, that includes recovery.

        Raises EmbeddedServerTrouble or OSError.
        """
        with self._lock:
            self._sockets.make()
            if not self._runs():
                self._start()
            self._wait_until_it_answers()

    def keep_running(self) -> None:
        """Start the server again if it has ended, without waiting for it; failures are logged.

        As long as it keeps ending, the pause before the next attempt doubles.
        """
        now = time.monotonic()
        if now < self._due_at:
            return
        if self._runs():
            self._pause = MIN_PAUSE_S
            self._keep_reachable()
            return
        self._due_at = now + self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE_S)
        if self._lock.acquire(blocking=False):
            try:
                self._start_again()
            finally:
                self._lock.release()

    def stop(self) -> None:
        """Stop the server; what was committed is on disk."""
        stop_postmaster(self._pgdata)

    def _runs(self) -> bool:
        return running_postmaster(self._pgdata) is not None

    def _start(self) -> None:
        account = account_of(self._pgdata)
        open_way(self._data_dir, self._pgdata, account)
        programs = programs_for(account, self._data_dir)
        claim(self._pgdata, account)
        if is_missing(self._pgdata):
            create_cluster(programs, self._pgdata, account)
        check_cluster(self._pgdata)
        if forget_dead_postmaster(self._pgdata):
            logger.warning("the embedded PostgreSQL was killed; it will recover")
        rules = write_access_rules(self._data_dir, account)
        settings = _SETTINGS | rules | {"max_connections": self._connections}
        self._log_begins_at = self._log.stat().st_size if self._log.exists() else 0
        start_postmaster(programs, self._pgdata, settings, self._log, account)
        give_files_to_owner(self._data_dir)

    def _keep_reachable(self) -> None:
        try:
            self._sockets.make()
        except OSError as error:
            self._tell(f"the embedded PostgreSQL can't be reached: {error}")
        else:
            self._told = ""

    def _start_again(self) -> None:
        reason = self._last_words()
        try:
            if is_missing(self._pgdata):
                raise EmbeddedServerTrouble(f"{self._pgdata} is gone")
            self._sockets.make()
            self._start()
        except OSError as error:
            reason = str(error)
        self._tell(f"the embedded PostgreSQL has ended and is started again: {reason}")

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            logger.error(trouble)
            self._told = trouble

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while (refusal := self._refusal()) is not None:
            if not self._runs():
                self._start_unless_it_cannot(deadline)
            elif is_starting(self._pgdata):
                deadline = time.monotonic() + ANSWER_TIMEOUT_S
            elif time.monotonic() > deadline:
                raise EmbeddedServerTrouble(f"the embedded PostgreSQL does not answer: {refusal}")
            time.sleep(POLL_INTERVAL_S)

    def _start_unless_it_cannot(self, deadline: float) -> None:
        said = self._last_words()
        # Child processes of a killed server that have not noticed its end yet.
        if _STILL_IN_USE not in said or time.monotonic() > deadline:
            raise EmbeddedServerTrouble(f"the embedded PostgreSQL does not start: {said} (see {self._log})")
        self._start()

    def _refusal(self) -> str | None:
        """Why the server does not answer yet; None once it does, and has the database."""
        try:
            _create_database(self._sockets.url(SUPERUSER, "postgres"))
        except psycopg.OperationalError as error:
            return str(error)
        return None

    def _last_words(self) -> str:
        try:
            with self._log.open(encoding="utf-8", errors="replace") as log:
                log.seek(self._log_begins_at)
                return last_words(log.readlines())
        except OSError as error:
            return str(error)


@contextmanager
def embedded_postgresql(
    data_dir: Path | str, *, connections: int = MIN_CONNECTIONS
) -> Iterator[EmbeddedPostgreSQL]:
    """The running server of `data_dir`, which is created if need be.

    If the server is not running yet, it is started with room for at least `connections` connections. Until it
    is given up, the environment has none of libpq's variables (PG…). Raises EmbeddedServerTrouble or OSError.
    """
    data_dir = make_data_dir(Path(data_dir))
    server = EmbeddedPostgreSQL(data_dir, connections)
    users = InterProcessReaderWriterLock(data_dir / "users.lock")
    try:
        users.acquire_read_lock()
    except PermissionError as error:
        raise EmbeddedServerTrouble(
            f"the data directory {data_dir} is another user's: run the program as {data_dir.owner()}"
        ) from error
    try:
        with settings_of_clients_set_aside():
            server.ensure_running()
            yield server
    finally:
        users.release_read_lock()
        if users.acquire_write_lock(blocking=False):
            server.stop()
            users.release_write_lock()


def _create_database(server_url: str) -> None:
    with psycopg.connect(server_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
