"""`allocation import`: files of lots and of order lines."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allocation.entrypoints.cli.console import err, print_json, print_table

if TYPE_CHECKING:
    from rich.progress import Progress

    from allocation.entrypoints.csv_import import CsvFile, Kind

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV in UTF-8, with a header.")]
Column = Annotated[
    list[str] | None,
    typer.Option(help="Where a field is found, as FIELD=HEADER; may be repeated.", metavar="FIELD=HEADER"),
]
Delimiter = Annotated[str, typer.Option(help="What separates columns.")]
AsJson = Annotated[bool, typer.Option("--json", help="The counts as JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Import CSV files. Bad lines go to FILE.rejected.csv, with the reason; it is safe to run again.",
    )
    group.command(epilog="Example: allocation import lots lots.csv")(lots)
    group.command(
        epilog="Example: allocation import commandes sales.csv --column id_commande=InvoiceNo "
        "--column sku=StockCode --column quantité=Quantity"
    )(commandes)
    app.add_typer(group, name="import")


def lots(file: File, column: Column = None, delimiter: Delimiter = ",", *, as_json: AsJson = False) -> None:
    """Receive lots: réf, sku, quantité and, for what is in transit, eta (2027-01-31)."""
    from allocation.entrypoints.csv_import import LOTS

    _import(file, LOTS, column or [], delimiter, as_json=as_json)


def commandes(
    file: File, column: Column = None, delimiter: Delimiter = ",", *, as_json: AsJson = False
) -> None:
    """Allocate order lines: id_commande, sku, quantité and, if the file has it, ligne.

    Without a ligne, lines of one SKU in one order are numbered in the order of the file.
    """
    from allocation.entrypoints.csv_import import COMMANDES

    _import(file, COMMANDES, column or [], delimiter, as_json=as_json)


def _import(file: Path, kind: "Kind", column: list[str], delimiter: str, *, as_json: bool) -> None:
    from allocation.adapters.configuration import Settings
    from allocation.adapters.journal import SqlAlchemyJournal
    from allocation.entrypoints.cli.database import open_database
    from allocation.entrypoints.csv_import import IN_FLIGHT, CsvFile, import_file
    from allocation.projections import projector
    from allocation.service_layer.bootstrap import bootstrap, projection_followers

    source = CsvFile(file, dict(_mapping(each) for each in column), delimiter)
    settings = Settings()
    with open_database(settings) as database, _progress() as progress:
        task = progress.add_task(file.name, total=file.stat().st_size)
        bus = bootstrap(database, settings=settings, inline=False)
        started = time.monotonic()
        counts = import_file(
            source,
            kind,
            bus,
            lambda done: progress.update(task, completed=done),
            in_flight=min(IN_FLIGHT, settings.queue_size),
        )
        with database.reading() as connection:
            end = SqlAlchemyJournal(connection).last_position()
        projector.catch_up(projection_followers(database), end)
        seconds = time.monotonic() - started
    _report(source, counts, seconds, as_json=as_json)


def _mapping(text: str) -> tuple[str, str]:
    field, separator, header = text.partition("=")
    if not (field and separator and header):
        from allocation.entrypoints.csv_import import ImportRefused

        raise ImportRefused(f"--column {text}: FIELD=HEADER is expected, such as quantité=Quantity")
    return field, header


def _progress() -> "Progress":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, disable=not err.is_terminal)


def _report(file: "CsvFile", counts: Counter[str], seconds: float, *, as_json: bool) -> None:
    summary = {**counts, "lines/s": round(counts.total() / seconds)}
    if as_json:
        print_json(summary)
    else:
        print_table(file.path.name, [summary])
    if counts["rejected"]:
        err.print(f"The rejected lines and why: {file.rejected_path}", soft_wrap=True, markup=False)
