"""The directory in which the API's processes share their metrics, as files of prometheus_client."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

_PREFIX = "allocation-metrics-"


@contextmanager
def metrics_directory(parent: Path) -> Iterator[Path]:
    """A new directory in `parent`, removed at the end; those that killed programs left are removed, too."""
    for left in parent.glob(f"{_PREFIX}*"):
        _remove_if_abandoned(left)
    directory = Path(mkdtemp(prefix=_PREFIX, dir=parent))
    # Locked by this process and its children, hence free once they have been killed.
    held = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(held)
        shutil.rmtree(directory, ignore_errors=True)


def _remove_if_abandoned(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:  # another user's, or gone
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:  # in use
        pass
    finally:
        os.close(descriptor)
