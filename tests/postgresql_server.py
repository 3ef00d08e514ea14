"""The PostgreSQL that the tests run on: the embedded one, or the one whose programs TEST_POSTGRESQL names."""

import atexit
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Protocol

import psutil
from tests.waiting import PATIENCE_S

from allocation.adapters.embedded.embedded_postgresql import DATABASE, embedded_postgresql
from allocation.adapters.embedded.postgresql_programs import Account, give, programs_for

# The directory of another PostgreSQL's programs, such as /usr/lib/postgresql/15/bin.
OTHER_PROGRAMS = os.environ.get("TEST_POSTGRESQL")

# PostgreSQL does not run as root: Debian's packages bring a user along.
USER = None if os.geteuid() else "postgres" if OTHER_PROGRAMS else "nobody"


class Server(Protocol):
    """A running server that lets us, and `USER`, connect as any role."""

    @property
    def url(self) -> str:
        """The URL of a database of the superuser."""


@cache
def programs() -> Path:
    """Where the programs of the PostgreSQL that the tests run on are, which `USER` may run."""
    if OTHER_PROGRAMS:
        return Path(OTHER_PROGRAMS)
    place = Path(mkdtemp(prefix="allocation-programs-"))
    atexit.register(shutil.rmtree, place)
    place.chmod(0o711)
    return programs_for(_account(), place)


def _account() -> Account:
    if USER is None:
        return Account(os.geteuid(), os.getegid())
    user = pwd.getpwnam(USER)
    return Account(user.pw_uid, user.pw_gid)


@contextmanager
def running_server() -> Iterator[Server]:
    """A new server of the PostgreSQL that the tests run on, which is removed in the end."""
    if OTHER_PROGRAMS:
        with other_server() as other:
            yield other
    else:
        with TemporaryDirectory(prefix="allocation-tests-") as directory:
            let_user_own_data(Path(directory))
            with embedded_postgresql(Path(directory)) as embedded:
                yield embedded


def let_user_own_data(data_dir: Path) -> None:
    """Let an embedded server that will be made in this directory run as `USER`.

    A standby of it, and the programs that make one, connect as that user, who must have a name.
    """
    data = data_dir / "postgresql"
    data.mkdir(mode=0o700)
    give(data, _account())


class OtherServer:
    """A server of another PostgreSQL, on a socket and with data in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"

    @property
    def url(self) -> str:
        """The URL of a database that is called as the embedded server's."""
        return f"postgresql://postgres@/{DATABASE}?host={self._directory}"

    def create(self) -> None:
        """Make the data directory."""
        run_program("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")

    def start(self) -> None:
        """Start unless it runs, and return when it answers."""
        if not self._pid_file.exists() or not psutil.pid_exists(self.pid):
            options = f"-h '' -k {self._directory}"
            run_program("pg_ctl", "-w", "-D", self._data, "-o", options, "-l", self._log, "start")

    def stop(self) -> None:
        """Stop, if it runs; what was committed is on disk."""
        run_program("pg_ctl", "-w", "-D", self._data, "-m", "fast", "stop", check=False)

    @property
    def pid(self) -> int:
        """The number of its first process."""
        return int(self._pid_file.read_text().split()[0])

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    @property
    def _log(self) -> Path:
        return self._directory / "log"


@contextmanager
def other_server() -> Iterator[OtherServer]:
    """A new server, which runs, and is removed in the end."""
    directory = Path(mkdtemp(prefix="postgresql-"))
    if USER is not None:
        shutil.chown(directory, USER)
    server = OtherServer(directory)
    try:
        server.create()
        server.start()
        run_program("createdb", "-h", directory, "-U", "postgres", DATABASE)
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def run_program(name: str, *arguments: str | Path, check: bool = True) -> None:
    """Run one of PostgreSQL's programs to its end."""
    # Not captured: a server would keep the pipe open for as long as it runs.
    command = [programs() / name, *arguments]
    options = _account().process_options
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL, cwd="/", **options)


def kill_all(*processes: psutil.Process) -> None:
    """SIGKILL to the processes and to whatever they have started; return when all are gone."""
    victims = [each for process in processes for each in (process, *process.children(recursive=True))]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=PATIENCE_S)
