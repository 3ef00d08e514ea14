"""A program of its own: it starts a command that outlives both it and its parent, and ends.

Arguments: a user ID and a group ID (both empty to keep those of the caller), then the command, which inherits
standard error and has no input. No shell is involved.
"""

import subprocess
import sys
from typing import Any


def start(uid: str, gid: str, *command: str) -> None:
    """Start the command in its own session; as another user, only that user's group applies."""
    account: dict[str, Any] = {"user": int(uid), "group": int(gid), "extra_groups": []} if uid else {}
    subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, **account
    )


if __name__ == "__main__":
    start(*sys.argv[1:])
