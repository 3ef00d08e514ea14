"""The command line. Each command imports what it needs only when it runs, so that `--help` stays fast."""

from allocation.entrypoints.cli.app import main

__all__ = ["main"]
