"""`allocation parked`: dealing with events that a reader of the journal could not apply."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from allocation.entrypoints.cli.console import err, fail, out, print_json, print_table

if TYPE_CHECKING:
    from allocation.projections.parked import ParkedReaders

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Reader = Annotated[str, typer.Argument(help="The reader, as `allocation parked list` names it.")]
Skus = Annotated[list[str] | None, typer.Argument(help="Only these SKUs.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Events that a projection or subscription could not apply, with all later ones of the same SKU.",
    )
    group.command(name="list", epilog="Example: allocation parked list --json")(list_parked)
    group.command(epilog="Example: allocation parked show allocations_view LAMPE-ROUGE")(show)
    group.command(epilog="Example: allocation parked retry allocations_view")(retry)
    group.command(epilog="Example: allocation parked discard allocations_view LAMPE-ROUGE")(discard)
    app.add_typer(group, name="parked")


def list_parked(*, as_json: AsJson = False) -> None:
    """List the SKUs that have parked events, and why."""
    with _readers() as readers:
        rows = [asdict(each) for each in readers.summary()]
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        print_table("Parked events", rows)
    else:
        err.print("Nothing is parked.")


def show(
    reader: Reader, sku: Annotated[str, typer.Argument(help="The SKU.")], *, as_json: AsJson = False
) -> None:
    """Show the parked events of a SKU as stored, oldest first."""
    with _readers() as readers:
        sku = _meant(sku, _parked_skus(readers, reader))
        events = [each._asdict() for each in readers.events(reader, sku)]
        if not events:
            err.print(f"{reader} has no parked events of {sku}", markup=False, soft_wrap=True)
    for event in events:
        if as_json:
            print_json({**event, "data": json.loads(event["data"])})
        else:
            out.print(
                f"{event['position']:>8} {event['survenu_le']:%F %T} {event['type']} {event['data']}",
                markup=False,
                soft_wrap=True,
            )


def retry(reader: Reader, skus: Skus = None) -> None:
    """Try parked events again, in order; the exit status is 1 if some still can't be applied."""
    failed = 0
    with _readers(writing=True) as readers:
        for sku in _chosen(readers, reader, skus):
            error = readers.retry(reader, sku)
            if error is None:
                out.print(f"{sku}: applied", markup=False)
            else:
                failed += 1
                fail(f"{sku}: {type(error).__name__}: {error}")
    raise typer.Exit(1 if failed else 0)


def discard(
    reader: Reader,
    skus: Skus = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Drop parked events: the reader goes on without them; a read model stays wrong until it is rebuilt."""
    with _readers(writing=True) as readers:
        chosen = _chosen(readers, reader, skus)
        if not yes:
            typer.confirm(f"Give up the parked events of {len(chosen)} SKUs?", abort=True)
        for sku in chosen:
            out.print(f"{sku}: {readers.discard(reader, sku)} events given up", markup=False)


def _chosen(readers: "ParkedReaders", reader: str, skus: list[str] | None) -> list[str]:
    """The given SKUs, or else all that have parked events."""
    readers.check(reader)
    parked = _parked_skus(readers, reader)
    chosen = [_meant(sku, parked) for sku in skus or parked]
    if unknown := set(chosen) - set(parked):
        fail(f"{reader} has no parked events of {', '.join(sorted(unknown))}")
        raise typer.Exit(2)
    return chosen


def _parked_skus(readers: "ParkedReaders", reader: str) -> list[str]:
    return [each.sku for each in readers.summary() if each.lecteur == reader]


def _meant(sku: str, parked: list[str]) -> str:
    """The SKU as it is parked, in whichever Unicode form and between whichever blanks it is given."""
    from allocation.domain.errors import ValeurInvalide
    from allocation.domain.values import identifiant

    try:
        # What is older than the rule for identifiers is parked as it is.
        return sku if sku in parked else identifiant("sku", sku)
    except ValeurInvalide:
        return sku


@contextmanager
def _readers(*, writing: bool = False) -> "Iterator[ParkedReaders]":
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.database import open_database
    from allocation.projections.parked import ParkedReaders
    from allocation.service_layer.bootstrap import journal_followers

    settings = Settings()
    with open_database(settings, writing=writing) as database:
        yield ParkedReaders(database, journal_followers(database, settings))
