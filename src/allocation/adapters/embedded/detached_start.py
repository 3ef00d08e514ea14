"""Run as a program of its own: starts a command that outlives it and its parent, and ends.

Arguments: the user's and the group's number, or two empty ones to stay who one is, then the command. It
writes to the standard error that it is given, reads nothing, and no shell reads it.
"""

import subprocess
import sys
from typing import Any


def start(uid: str, gid: str, *command: str) -> None:
    """Start the command in a session of its own, and as another user in that user's group alone."""
    account: dict[str, Any] = {"user": int(uid), "group": int(gid), "extra_groups": []} if uid else {}
    subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, **account
    )


if __name__ == "__main__":
    start(*sys.argv[1:])
