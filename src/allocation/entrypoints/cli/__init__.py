"""The command line. A command imports what it needs when it runs: `--help` needs none of it."""

from allocation.entrypoints.cli.app import main

__all__ = ["main"]
