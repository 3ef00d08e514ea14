"""The `allocation` command, its subcommands, and what the shell is told when one fails."""

import signal
import sys
from typing import Annotated

import typer

from allocation import __version__
from allocation.entrypoints.cli import imports, journal, migrate, operations, parked, read_models, service
from allocation.entrypoints.cli.answers import answer, warn_of_unknown_variables
from allocation.entrypoints.cli.console import escape_what_has_no_character, out

app = typer.Typer(
    name="allocation",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - Typer gives it so
    if asked:
        out.print(f"allocation {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ties each order line to a batch of stock, and serves fast reads of the result."""


service.add_to(app)
migrate.add_to(app)
imports.add_to(app)
read_models.add_to(app)
parked.add_to(app)
operations.add_to(app)
journal.add_to(app)


def main() -> None:
    """Run the command that the arguments name.

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but something needs attention, 130, 143 interrupted.
    """
    # So that SIGTERM, too, stops an embedded database before the process ends.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    escape_what_has_no_character()
    try:
        warn_of_unknown_variables()
        app()
    except Exception as error:  # noqa: BLE001 - a trace is never an answer
        sys.exit(answer(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
