"""How commands print: results to standard output, everything else to standard error."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def escape_what_has_no_character() -> None:
    """Print what standard output's encoding lacks as an escape, as standard error does, and do not fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def fail(message: str) -> None:
    """Print an error."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning."""
    err.print(f"[bold yellow]warning:[/] {escape(message)}", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print the value as one line of JSON: in UTF-8, or in ASCII if standard output is not UTF-8."""
    # Standard output may be closed, or have no encoding.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(json.dumps(value, ensure_ascii=encoding.lower() != "utf-8", default=_as_text), flush=True)  # noqa: T201


def _as_text(value: Any) -> str:
    """Dates and instants in ISO 8601, identifiers as they are written."""
    return value.isoformat() if isinstance(value, date) else str(value)


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that have the same keys as a table, with the keys as its header."""
    table = Table(title=title, title_justify="left")
    for key in rows[0] if rows else ():
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    out.print(table)
