"""A real hot standby, made by pg_basebackup from a running server, whose replay the tests can hold back."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
from tests.postgresql_server import USER, kill_all, run_program
from tests.waiting import eventually


class Standby:
    """A streaming standby, on a socket in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        if USER is not None:
            directory.chmod(0o755)
            shutil.chown(directory, USER)

    def url(self, database: str) -> str:
        """The URL of a database of the primary, on the standby."""
        return f"postgresql://postgres@/{database}?host={self._directory}"

    def create(self, primary_url: str) -> None:
        """Copy the primary, and start."""
        self._primary_url = primary_url
        run_program("pg_basebackup", "-d", primary_url, "-D", self._data, "-R", "-c", "fast")
        (self._data / "pg_hba.conf").write_text("local all all trust\n", encoding="utf-8")
        self.start()

    def start(self) -> None:
        """Start, and return when it answers."""
        options = f"-h '' -k {self._directory}"
        log = self._directory / "log"
        run_program("pg_ctl", "-w", "-D", self._data, "-o", options, "-l", log, "start")

    def promote(self) -> None:
        """Let it take writes, and return when it does."""
        run_program("pg_ctl", "-w", "-D", self._data, "promote")

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        kill_all(psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0])))

    def stop(self) -> None:
        """Stop, if it runs."""
        if (self._data / "postmaster.pid").exists():
            run_program("pg_ctl", "-D", self._data, "-m", "immediate", "stop", check=False)

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
        with psycopg.connect(self._primary_url, autocommit=True) as primary:
            # Its commit waits for the disk, also for what those wrote who don't: nothing is sent before.
            primary.execute("SELECT pg_logical_emit_message(true, 'tests', '')")
            [end] = primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or ()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            reached = "SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn"
            eventually(lambda: connection.execute(reached, [end]).fetchone())


@contextmanager
def new_standby() -> Iterator[Standby]:
    """A standby that is not created yet; whatever of it runs in the end is stopped."""
    with TemporaryDirectory(prefix="standby-", ignore_cleanup_errors=True) as directory:
        standby = Standby(Path(directory))
        try:
            yield standby
        finally:
            standby.stop()
