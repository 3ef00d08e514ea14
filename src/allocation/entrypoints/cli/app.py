"""`allocation`: the commands, and what the shell is told when one fails."""

import signal
import sys

import typer
from pydantic import ValidationError

from allocation.adapters.database import StorageUnavailable, VersionConflict
from allocation.adapters.schema import SchemaTooNew
from allocation.entrypoints.cli import imports, operations, service
from allocation.entrypoints.cli.console import fail
from allocation.entrypoints.csv_import import ImportRefused

app = typer.Typer(
    name="allocation",
    help="Ties every order line to one batch of stock, and lets everyone read the result fast.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
service.add_to(app)
imports.add_to(app)
operations.add_to(app)

EXPECTED = (StorageUnavailable, VersionConflict, SchemaTooNew, OSError)


def main() -> None:
    """Run the command that the arguments name. Exit status: 0 done, 1 failed, 2 misused."""
    # So that SIGTERM too stops an embedded database on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except ValidationError as error:
        for each in error.errors():
            fail(f"ALLOCATION_{str(each['loc'][0]).upper()}: {each['msg']}")
        sys.exit(2)
    except ImportRefused as error:
        fail(str(error))
        sys.exit(2)
    except EXPECTED as error:
        fail(str(error))
        sys.exit(1)
