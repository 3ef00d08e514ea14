"""A real hot standby, made by pg_basebackup from a running server, whose replay the tests can hold back."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
from tests.waiting import PATIENCE_S, eventually

from allocation.adapters.postgresql_programs import account_of, give, program, programs_for
from allocation.adapters.postmaster import (
    forget_dead_postmaster,
    running_postmaster,
    start_postmaster,
    stop_postmaster,
)

NOBODY = 65534


def let_a_named_user_serve(data_dir: Path) -> None:
    """As root: have the embedded server of `data_dir` run as `nobody`, as whom others may connect to it.

    What connects as the server's own user, as a standby does, is let in by its name, so it must have one.
    """
    if os.geteuid() == 0:
        directory = data_dir / "postgresql"
        directory.mkdir(mode=0o700)
        os.chown(directory, NOBODY, NOBODY)


class Standby:
    """A streaming standby, on a socket in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            directory.chmod(0o711)
            os.chown(self._data, NOBODY, NOBODY)
        self._account = account_of(self._data)
        self._programs = programs_for(self._account, directory)

    def url(self, database: str) -> str:
        """The URL of a database of the primary, on the standby."""
        return f"postgresql://postgres@/{database}?host={self._data}"

    def create(self, primary_url: str) -> None:
        """Copy the primary, and start."""
        self._primary_url = primary_url
        # Not captured: a server would keep the pipe open for as long as it runs.
        subprocess.run(
            [program("pg_basebackup"), "-d", primary_url, "-D", self._data, "-R", "-c", "fast"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        give(self._data, self._account)
        (self._data / "pg_hba.conf").write_text("local all all trust\n")
        self.start()

    def start(self) -> None:
        """Start, and return when it answers."""
        forget_dead_postmaster(self._data)
        settings = {"listen_addresses": "", "unix_socket_directories": "."}
        log = self._directory / "log"
        start_postmaster(self._programs, self._data, settings, log, self._account)
        eventually(self._answers)

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        victims = [postmaster, *postmaster.children(recursive=True)]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=PATIENCE_S)

    def stop(self) -> None:
        """Stop, if it runs."""
        stop_postmaster(self._data)

    def pause_replay(self) -> None:
        """Let it receive what the primary writes, and not show it; return when that has begun."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            state = "SELECT 1 WHERE pg_get_wal_replay_pause_state() = 'paused'"
            eventually(lambda: connection.execute(state).fetchone())

    def resume_replay(self) -> None:
        """Let it show everything again, and go on."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_resume()")

    def wait_until_caught_up(self) -> None:
        """Return when it shows everything that the primary has committed until now."""
        with psycopg.connect(self._primary_url) as primary:
            # What is written, too, by those who do not wait for the disk: nothing else is sent before.
            flushed = "SELECT pg_logical_emit_message(false, 'tests', '', flush => true)"
            [end] = primary.execute(flushed).fetchone() or ()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            reached = "SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn"
            eventually(lambda: connection.execute(reached, [end]).fetchone())

    def _answers(self) -> bool:
        assert running_postmaster(self._data) is not None, (self._directory / "log").read_text()
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def new_standby() -> Iterator[Standby]:
    """A standby that is not created yet; whatever of it runs in the end is stopped."""
    with TemporaryDirectory(prefix="standby-", ignore_cleanup_errors=True) as directory:
        standby = Standby(Path(directory))
        try:
            yield standby
        finally:
            standby.stop()
