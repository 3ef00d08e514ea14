"""The server process of a data directory: finding, starting and stopping it.

A process ID in a file may belong to another process by now. So a process counts as the server of a directory
only if it is PostgreSQL and was started on that directory, or works in it; nothing else is ever signalled.
(Comparing start times would be less reliable: they shift when the machine's clock is corrected.)
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from allocation.adapters.embedded import detached_start
from allocation.adapters.embedded.postgresql_programs import Account, EmbeddedServerTrouble

STOP_TIMEOUT_S = 60
_POLL_INTERVAL_S = 0.02
_PID_FILE = "postmaster.pid"
_SOCKET = ".s.PGSQL.5432"
_STATUS_LINE = 7
_VARIABLES = ("PATH", "TZ", "LD_LIBRARY_PATH")


def running_postmaster(pgdata: Path) -> psutil.Process | None:
    """The server of `pgdata`, if it runs, even if its PID file is wrong or missing."""
    return next((process for process in _candidates(pgdata) if is_postmaster_of(process, pgdata)), None)


def is_postmaster_of(process: psutil.Process, pgdata: Path) -> bool:
    """Whether the process runs, is PostgreSQL, and was started on `pgdata` or works in it."""
    try:
        if not process.name().startswith("postgres") or process.status() == psutil.STATUS_ZOMBIE:
            return False
        arguments = process.cmdline()
        # Its children call themselves "postgres: checkpointer" and the like.
        return str(pgdata) in arguments or (
            not arguments[0].startswith("postgres: ") and _working_directory_is(process, pgdata)
        )
    except (psutil.Error, OSError, IndexError):
        return False


def is_starting(pgdata: Path) -> bool:
    """Whether the server reports that it is still starting, for instance recovering from a crash."""
    return _status(pgdata) == "starting"


def forget_dead_postmaster(pgdata: Path) -> bool:
    """Remove the files that a dead server has left in the way of a new one; return whether there were any.

    Call it under the lock for starting a server, after `running_postmaster` has found none. If processes of
    the old server live on, the new one detects them by their shared memory.
    """
    left = [path for path in (pgdata / _PID_FILE, pgdata / f"{_SOCKET}.lock") if path.exists()]
    for path in left:
        path.unlink()
    return bool(left)


def start_postmaster(
    programs: Path, pgdata: Path, settings: Mapping[str, str | int], log: Path, account: Account
) -> None:
    """Start the server as a daemon that outlives this process, without a shell.

    Its log tells whether it keeps running. Raises OSError if it could not be started.
    """
    options = [f"--{name}={value}" for name, value in settings.items()]
    numbers = (str(account.uid), str(account.gid)) if account.process_options else ("", "")
    command = [str(programs / "postgres"), "-D", str(pgdata), *options]
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-S", detached_start.__file__, *numbers, *command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            env=environment(),
            cwd="/",
        )
    except subprocess.CalledProcessError as error:
        raise EmbeddedServerTrouble(f"{programs / 'postgres'} could not be started (see {log})") from error
    finally:
        os.close(descriptor)


def stop_postmaster(pgdata: Path) -> None:
    """Stop the server of `pgdata` if it runs, and return when it has ended, with all commits on disk."""
    process = running_postmaster(pgdata)
    if process is None:
        return
    for stop_signal in (signal.SIGINT, signal.SIGQUIT):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(stop_signal)
        if _has_ended(process, pgdata):
            return


def environment() -> dict[str, str]:
    """The environment for PostgreSQL's programs: this process's, without settings (PG*) and secrets."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ} | {"LC_ALL": "C"}


def _has_ended(process: psutil.Process, pgdata: Path) -> bool:
    """Wait up to a minute for the process to end, even if its new parent is slow to reap it."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_postmaster_of(process, pgdata):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True


def _candidates(pgdata: Path) -> Iterator[psutil.Process]:
    """The process named in the server's PID file, if it exists, then all other processes."""
    with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        yield psutil.Process(int((pgdata / _PID_FILE).read_text().split()[0]))
    yield from psutil.process_iter()


def _working_directory_is(process: psutil.Process, pgdata: Path) -> bool:
    # Asked of the kernel where that is possible: a path may have been given to another directory since.
    place = Path(f"/proc/{process.pid}/cwd")
    return pgdata.samefile(place if place.exists() else process.cwd())


def _status(pgdata: Path) -> str:
    try:
        return (pgdata / _PID_FILE).read_text().splitlines()[_STATUS_LINE].strip()
    except (OSError, ValueError, IndexError):
        return ""
