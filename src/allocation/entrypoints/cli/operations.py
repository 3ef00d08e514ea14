"""Looking after the service: read models, the settings."""

from dataclasses import asdict
from typing import Annotated

import typer

from allocation.entrypoints.cli.console import err, fail, out, print_json, print_table

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: allocation rebuild allocations_view")(rebuild)
    app.command(epilog="Example: allocation verify && echo sound")(verify)
    app.command(epilog="Example: allocation projections --json")(projections)
    app.command(epilog="Example: allocation config")(config)


def rebuild(name: Annotated[str, typer.Argument(help="The read model, such as allocations_view.")]) -> None:
    """Fill a read model anew from the write model; its readers wait meanwhile."""
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.cli.database import open_database
    from allocation.projections import rebuild as rebuilding
    from allocation.service_layer.bootstrap import projection_followers

    with open_database(Settings()) as database:
        known = {follower.name: follower for follower in projection_followers(database)}
        if name not in known:
            fail(f"no read model is called {name}; there are: {', '.join(sorted(known))}")
            raise typer.Exit(2)
        rows = rebuilding.rebuild(database, known[name].projection)
    out.print(f"{name}: {rows} rows")


def verify(*, as_json: AsJson = False) -> None:
    """Compare the write model with itself and the journal, and every read model with it.

    Prints each difference; the exit status is 1 if there is one.
    """
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.cli.database import open_database
    from allocation.projections import verify as verifying
    from allocation.service_layer.bootstrap import projection_followers

    found = 0
    with open_database(Settings()) as database:
        for difference in verifying.verify(database, projection_followers(database)):
            found += 1
            if as_json:
                print_json(asdict(difference))
            else:
                word = "missing" if difference.missing else "unexpected"
                out.print(f"{difference.comparison}: {word} {difference.row}", markup=False)
    err.print(f"{found} differences" if found else "No difference.")
    raise typer.Exit(1 if found else 0)


def projections(*, as_json: AsJson = False) -> None:
    """Show how far projections and subscriptions are, and how late."""
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.cli.database import open_database
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
