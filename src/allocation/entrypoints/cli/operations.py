"""Commands that show the state of the service: journal readers and settings."""

from dataclasses import asdict
from typing import Annotated

import typer

from allocation.entrypoints.cli.console import print_json, print_table

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: allocation projections --json")(projections)
    app.command(epilog="Example: allocation config")(config)


def projections(*, as_json: AsJson = False) -> None:
    """Show how far each projection and subscription has come, and its lag."""
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.database import open_database
    from allocation.views.progress import progress

    with open_database(Settings()) as database:
        readers = [asdict(reader) for reader in progress(database)]
    if as_json:
        for reader in readers:
            print_json(reader)
    else:
        print_table("Readers of the journal", readers)


def config(*, as_json: AsJson = False) -> None:
    """Show the settings in effect, passwords masked, and the variables that change them."""
    from allocation.adapters.configuration import Settings

    settings = Settings()
    shown = settings.shown()
    if as_json:
        print_json(shown)
        return
    fields = type(settings).model_fields
    rows = [
        {"variable": f"ALLOCATION_{name.upper()}", "value": value, "meaning": fields[name].description}
        for name, value in shown.items()
    ]
    print_table("Settings", rows)
