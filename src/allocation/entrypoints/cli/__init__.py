"""The command line."""

from allocation.entrypoints.cli.app import main

__all__ = ["main"]
