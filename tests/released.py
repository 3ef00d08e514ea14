"""The last released version: which it is, and its source, from the commit that the changelog names."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]

# A dated heading, and below it the commit that was released.
_RELEASE = re.compile(
    r"""
    ^\#\#\ \[?(?P<version>\d+\.\d+\.\d+)\]?\ [-—]\ \d{4}-\d{2}-\d{2}
    (?:(?!^\#\#\ ).)*?
    \bcommit:?\ (?P<commit>[0-9a-f]{40})\b
    """,
    re.MULTILINE | re.DOTALL | re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Release:
    """A version that users have."""

    version: str
    commit: str


@dataclass(frozen=True)
class ReleasedProgram:
    """The unpacked source of a release, run by today's Python with today's packages."""

    folder: Path

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Python with these arguments, in which `allocation` is the release's."""
        path = f"{self.folder / 'src'}{os.pathsep}{self.folder}"
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def last_release(changelog: str) -> Release:
    """The newest dated entry of the changelog, and its commit. Raises LookupError without one."""
    found = _RELEASE.search(changelog)
    if found is None:
        raise LookupError("no dated entry of the changelog names its commit")
    return Release(found["version"], found["commit"])


def unpacked(release: Release, folder: Path) -> ReleasedProgram:
    """The source of the release. Raises CalledProcessError where the repository does not have its commit."""
    archive = subprocess.run(
        ["git", "archive", release.commit], cwd=PROJECT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return ReleasedProgram(folder)
