"""`allocation import`: importing files of lots and of order lines."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allocation.entrypoints.cli.console import out, print_json
from allocation.entrypoints.cli.exit_status import ATTENTION
from allocation.entrypoints.cli.import_report import print_counts, print_report, progress_of, say_how_far
from allocation.entrypoints.cli.stopping import StopRequest

if TYPE_CHECKING:
    from allocation.adapters.configuration import Settings
    from allocation.adapters.postgresql.database import Database
    from allocation.adapters.write_model.known_stock import KnownStock
    from allocation.entrypoints.csv_files.importing import Import, Report
    from allocation.entrypoints.csv_files.kinds import Kind
    from allocation.entrypoints.csv_files.reading import CsvReading
    from allocation.entrypoints.csv_files.records import Record


def _existing(path: Path) -> Path:
    """Raises BadParameter unless there is something to read."""
    if path != Path("-") and (not path.exists() or path.is_dir()):
        raise typer.BadParameter(f"{path} is not a file")
    return path


File = Annotated[
    Path,
    typer.Argument(
        callback=_existing, help="CSV with a header, gzip-compressed or not; - is standard input."
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(help="Read FIELD from the column titled HEADER; may be repeated.", metavar="FIELD=HEADER"),
]
Delimiter = Annotated[
    str | None, typer.Option(help="What separates columns, such as ; or \\t. [default: detected]")
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Such as cp1252. [default: UTF-16 if the file begins with its mark, else UTF-8]"),
]
Check = Annotated[
    bool, typer.Option("--check", help="Read everything and show what would be rejected; write nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]

HELP = """Import CSV files of any size. It is safe to run again.

Bad lines go to FILE.rejected.csv and lines without stock to FILE.out-of-stock.csv, with the reason. Correct
them there, and import these files as they are. Existing files are kept: the next one is FILE.rejected.2.csv.
For standard input, the file is stdin.rejected.csv in the current folder.

Exit status: 0 all well; 3 some lines were rejected or out of stock; 1 could not work; 2 wrong usage;
130 stopped by Ctrl-C, 143 by SIGTERM, after printing how far it came.
"""


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help=HELP)
    group.command(epilog="Example: allocation import lots lots.csv --update --date-format dd/mm/yyyy")(lots)
    group.command(
        epilog="Example: allocation import commandes sales.csv --column id_commande=InvoiceNo "
        "--column sku=StockCode --column quantité=Quantity"
    )(commandes)
    app.add_typer(group, name="import")


def lots(  # noqa: PLR0913 - options
    file: File,
    column: Column = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    date_format: Annotated[
        str | None,
        typer.Option(help="How eta is written, such as dd/mm/yyyy or %d/%m/%Y. [default: 2027-01-31]"),
    ] = None,
    *,
    update: Annotated[
        bool, typer.Option("--update", help="Set the quantity of existing lots; lines are done one by one.")
    ] = False,
    check: Check = False,
    as_json: AsJson = False,
) -> None:
    """Receive lots: réf, sku, quantité and, for goods in transit, eta (2027-01-31).

    An existing lot with other values is rejected; with --update, its quantity is set instead.
    """
    from allocation.entrypoints.csv_files import kinds
    from allocation.entrypoints.csv_files.reading import Options, reading
    from allocation.entrypoints.csv_files.values import dates

    day = dates(date_format)

    def kind(known: "KnownStock | None") -> "Kind":
        return kinds.lots(day) if known is None or not update else kinds.lots_or_updates(day, known.lot)

    with reading(file, kinds.LOT_FIELDS, Options(column or (), delimiter, encoding)) as opened:
        if check:
            _check(opened, kind(None), as_json=as_json)
        else:
            _import(opened, kind, as_json=as_json)


def commandes(  # noqa: PLR0913 - options
    file: File,
    column: Column = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    *,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Lines without a ligne are further ones of their orders: they are numbered after those "
            "that are known. Such a file must be imported only once.",
        ),
    ] = False,
    check: Check = False,
    as_json: AsJson = False,
) -> None:
    """Allocate order lines: id_commande, sku, quantité and, if the file has it, ligne.

    Lines without a ligne are numbered from 1, within their order and SKU, in the order of the file. So a file
    can be imported again: its lines are recognised. When an order continues in a second file, its lines there
    would be taken for repetitions of the first ones: import that file with --append.
    """
    from allocation.entrypoints.csv_files.kinds import ORDER_LINE_FIELDS, ORDER_LINES
    from allocation.entrypoints.csv_files.reading import Options, reading

    with reading(file, ORDER_LINE_FIELDS, Options(column or (), delimiter, encoding)) as opened:
        if check:
            _check(opened, ORDER_LINES, as_json=as_json)
        else:
            _import(opened, lambda _: ORDER_LINES, append=append, as_json=as_json)


def _check(file: "CsvReading", kind: "Kind", *, as_json: bool) -> None:
    from allocation.entrypoints.csv_files.importing import Import

    def show(record: "Record", reason: str) -> None:
        if as_json:
            print_json({"ligne_du_fichier": record.number, "raison": reason})
        else:
            out.print(f"line {record.number}: {reason}", markup=False, soft_wrap=True)

    with progress_of(file) as on_progress:
        counts = Import(file, kind, on_progress=on_progress).check(show)
    print_counts(file.path, counts, as_json=as_json)
    raise typer.Exit(ATTENTION if counts["rejected"] else 0)


def _import(
    file: "CsvReading", kind: "Callable[[KnownStock], Kind]", *, append: bool = False, as_json: bool
) -> None:
    from allocation.adapters.configuration import Settings
    from allocation.adapters.write_model.known_stock import KnownStock
    from allocation.entrypoints.csv_files.importing import IN_FLIGHT, Import, Report
    from allocation.entrypoints.csv_files.numbering import none_before
    from allocation.entrypoints.database import open_database

    settings = Settings()
    report, stop = Report(), StopRequest()
    started = time.monotonic()
    with (
        open_database(settings, writing=True) as database,
        progress_of(file) as on_progress,
        stop.awaited(),
    ):
        known = KnownStock(database)
        work = Import(
            file,
            kind(known),
            last_number=known.last_number if append else none_before,
            in_flight=min(IN_FLIGHT, settings.queue_size),
            should_stop=stop.is_made,
            on_progress=on_progress,
        )
        try:
            _carry_out(work, report, database, settings)
        except BaseException:
            print_report(file, report, time.monotonic() - started, as_json=as_json)
            say_how_far(report, exactly=False)
            raise
    print_report(file, report, time.monotonic() - started, as_json=as_json)
    if report.stopped:
        say_how_far(report, exactly=True)
        raise typer.Exit(stop.exit_status)
    raise typer.Exit(ATTENTION if report.files else 0)


def _carry_out(work: "Import", report: "Report", database: "Database", settings: "Settings") -> None:
    """Import the file, then update the read models at once unless the import was stopped."""
    from allocation.adapters.journal.journal import PostgreSQLJournal
    from allocation.entrypoints.csv_files.importing import one_by_one
    from allocation.projections import projector
    from allocation.service_layer.bootstrap import bootstrap, projection_followers

    followers = projection_followers(database, settings)
    projector.register(followers)
    bus = bootstrap(database, settings=settings, inline=False)
    work.run(one_by_one(bus.handle) if work.kind.one_by_one else bus.submit, report)
    if report.stopped:
        return
    with database.reading() as connection:
        end = PostgreSQLJournal(connection).last_position()
    projector.catch_up(followers, end)
