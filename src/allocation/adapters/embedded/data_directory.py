"""The data directory of the embedded PostgreSQL: created completely or not at all, and checked before use."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from allocation.adapters.durable import sync_directory
from allocation.adapters.embedded.postgresql_programs import (
    Account,
    EmbeddedServerTrouble,
    give,
    named_account,
    server_version,
)
from allocation.adapters.embedded.postmaster import environment

SUPERUSER = "postgres"
_UNFINISHED = "postgresql.new-"
_OUR_FILES = ("*.lock", "postgresql.log", "server.*")
_CLUSTER_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=peer",
    "--encoding=UTF8",
    # The same sort order and character set on every machine, whatever its settings.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
_COMPLAINT = re.compile(r"(FATAL:|PANIC:|error:).*")
# The users that run the program or the server may connect as any role; nobody else may connect.
_HBA = "local all all peer map=allocation\nlocal replication all peer map=allocation\n"


def make_data_dir(data_dir: Path) -> Path:
    """Create the directory if it does not exist; return its resolved path. Raises EmbeddedServerTrouble."""
    try:
        for missing in reversed([each for each in (data_dir, *data_dir.parents) if not each.exists()]):
            missing.mkdir(exist_ok=True)
            # When root creates it, another user's server must be able to pass, whatever the umask says.
            missing.chmod(0o711 if os.geteuid() == 0 else 0o700)
        if not data_dir.is_dir():
            raise NotADirectoryError(0, "it is not a directory")
    except OSError as error:
        raise EmbeddedServerTrouble(
            f"the data directory {data_dir} can't be used: {error.strerror}. Set another ALLOCATION_DATA_DIR"
        ) from error
    return data_dir.resolve()


def place_of_cluster(data_dir: Path) -> Path:
    """The path of the database within the data directory, existing or not. Raises EmbeddedServerTrouble."""
    if "\n" in str(data_dir):
        raise EmbeddedServerTrouble(f"a data directory's name can't have a line break: {str(data_dir)!r}")
    place = data_dir / "postgresql"
    if place.is_symlink() and not place.exists():
        raise EmbeddedServerTrouble(
            f"{place} leads to {place.readlink()}, which is not there: is a disk missing?"
        )
    return place.resolve()


def open_way(data_dir: Path, pgdata: Path, account: Account) -> None:
    """Make the data accessible to the server, by changing the mode of the data directory and nothing else.

    Raises EmbeddedServerTrouble if the server may not enter one of the folders above.
    """
    if account.uid == os.geteuid():
        return
    for folder in {*pgdata.parents, *data_dir.parents} - {data_dir}:
        if not account.may_enter(folder):
            raise EmbeddedServerTrouble(
                f"PostgreSQL does not run as root, and user {account.uid}, as which it would run, may not "
                f"enter {folder}: choose another ALLOCATION_DATA_DIR, such as /var/lib/allocation"
            )
    if not account.may_enter(data_dir):
        data_dir.chmod(data_dir.stat().st_mode | 0o011)


def claim(pgdata: Path, account: Account) -> None:
    """Make the server the owner of `pgdata` if root owns it, as after restoring a backup.

    Raises EmbeddedServerTrouble if it belongs to anybody else.
    """
    if not pgdata.exists() or (owner := pgdata.stat().st_uid) == account.uid:
        return
    if os.geteuid() != 0:
        raise EmbeddedServerTrouble(
            f"{pgdata} belongs to another user, {owner}: run the program as that user"
        )
    give(pgdata, account)


def check_cluster(pgdata: Path) -> None:
    """Raise EmbeddedServerTrouble if `pgdata` holds anything that the server can't work on."""
    try:
        made_by = (pgdata / "PG_VERSION").read_text().strip()
        complete = (pgdata / "global" / "pg_control").exists()
    except FileNotFoundError:
        made_by, complete = "", False
    if not complete:
        raise EmbeddedServerTrouble(
            f"{pgdata} is not empty, and not a whole database: if nothing in it is needed, remove it"
        )
    if made_by != server_version().partition(".")[0]:
        raise EmbeddedServerTrouble(
            f"{pgdata} was made by PostgreSQL {made_by}, and this program brings {server_version()}: move "
            f"the data with pg_dump {made_by} or pg_upgrade, or run {made_by} and set ALLOCATION_DATABASE_URL"
        )


def is_missing(pgdata: Path) -> bool:
    """Whether `pgdata` does not exist or is empty."""
    return not pgdata.exists() or not any(pgdata.iterdir())


def create_cluster(programs: Path, pgdata: Path, account: Account) -> None:
    """Create a new cluster in `pgdata`, atomically; the remains of earlier attempts are removed.

    Raises EmbeddedServerTrouble with initdb's message, or OSError.
    """
    for left in pgdata.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(mkdtemp(prefix=_UNFINISHED, dir=pgdata.parent))
    maker = named_account(account)
    try:
        give(unfinished, maker)
        command = [str(programs / "initdb"), "-D", str(unfinished), *_CLUSTER_OPTIONS]
        finished = subprocess.run(  # noqa: S603
            command, check=False, capture_output=True, cwd="/", env=environment(), **maker.process_options
        )
        if finished.returncode != 0:
            said = last_words(finished.stderr.decode(errors="replace").splitlines())
            raise EmbeddedServerTrouble(f"the database could not be created in {pgdata.parent}: {said}")
        give(unfinished, account)
        unfinished.rename(pgdata)
        sync_directory(pgdata.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_access_rules(data_dir: Path, account: Account) -> dict[str, str | int]:
    """Write the access rules to files that the server can read but not change; return their settings."""
    users = {name for user in (Account(os.geteuid(), os.getegid()), account) if (name := user.name)}
    mapped = "".join(f'allocation "{name}" all\n' for name in sorted(users))
    rules = {"hba_file": _HBA, "ident_file": mapped}
    files = {setting: data_dir / f"server.{setting.removesuffix('_file')}" for setting in rules}
    for setting, path in files.items():
        path.write_text(rules[setting], encoding="utf-8")
        path.chmod(0o644)
    return {setting: str(path) for setting, path in files.items()}


def give_files_to_owner(data_dir: Path) -> None:
    """Give files that root has written here to the owner of the directory, who else could not use them."""
    of = data_dir.stat()
    if os.geteuid() == 0:
        for pattern in _OUR_FILES:
            for path in data_dir.glob(pattern):
                os.chown(path, of.st_uid, of.st_gid, follow_symlinks=False)


def last_words(lines: Sequence[str]) -> str:
    """The reason that a program gives for ending: its last error message, or else its last line."""
    said = [line.strip() for line in lines if line.strip()]
    complaints = [found[0] for line in said if (found := _COMPLAINT.search(line))]
    return next(reversed(complaints or said), "it gives no reason")
