"""`allocation journal`: printing the events, and archiving old ones."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allocation.entrypoints.cli.console import err, fail, out, print_json

if TYPE_CHECKING:
    from datetime import datetime

    from rich.progress import Progress

    from allocation.adapters.journal.archive import JournalArchive
    from allocation.adapters.journal.archiving import ArchiveReport
    from allocation.adapters.journal.rows import RecordedEvent
    from allocation.adapters.postgresql.database import Database
    from allocation.domain.events import Event

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]

JOURNAL_BATCH = 1000


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer()
    group.callback(
        invoke_without_command=True, epilog="Example: allocation journal --follow --json | jq .data"
    )(journal)
    group.command(epilog="Example: allocation journal archive --before 2027-01-01 --dir /srv/archive")(
        archive
    )
    app.add_typer(group, name="journal")


def journal(
    context: typer.Context,
    after: Annotated[int, typer.Option(help="Begin after this position.", min=0, max=2**63 - 1)] = 0,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the events of the journal in order, archived ones first."""
    if context.invoked_subcommand is not None:
        return
    from allocation.adapters.configuration import Settings
    from allocation.adapters.journal.archive import JournalArchive
    from allocation.adapters.journal.listener import JournalListener, Waker
    from allocation.entrypoints.database import open_database

    settings = Settings()
    waker = Waker()
    archive = JournalArchive()
    with (
        open_database(settings) as database,
        JournalListener(database.sessions, waker) if follow else nullcontext(),
    ):
        while True:
            seen = waker.calls
            reached = _print_batch(database, archive, after, as_json=as_json)
            if reached == after and not follow:
                return
            if reached == after:
                waker.wait(seen, settings.poll_interval)
            after = reached


def archive(
    before: Annotated[
        str,
        typer.Option(help="Move what is older than this instant (ISO 8601; UTC unless it says otherwise)."),
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--dir", file_okay=False, help="Where to. [default: ALLOCATION_ARCHIVE_DIR]"),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Move old events that no reader of the journal needs any more to compressed files.

    A snapshot is written beside them; read models can be rebuilt from it and the rest of the journal.
    """
    from allocation.adapters.configuration import Settings
    from allocation.adapters.journal.archiving import JournalArchiver
    from allocation.entrypoints.database import open_database

    instant = _instant(before)
    settings = Settings()
    with open_database(settings, writing=True) as database, _progress() as progress:
        task = progress.add_task("events")
        report = JournalArchiver(database, directory or settings.archive_folder).archive(
            instant, lambda done, total: progress.update(task, completed=done, total=total)
        )
    _print_report(report, as_json=as_json)


def _instant(text: str) -> "datetime":
    from datetime import UTC, datetime

    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--before {text}: an instant is expected, such as 2027-01-01 or 2027-01-01T12:00:00+01:00")
        raise typer.Exit(2) from None
    # Further out, shifting an instant by its time zone would overflow; no event is that old or that new.
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
    return min(max(instant if instant.tzinfo else instant.replace(tzinfo=UTC), first), last)


def _progress() -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, disable=not err.is_terminal)


def _print_report(report: "ArchiveReport", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        files = [str(path) for path in report.files]
        snapshot = None if report.snapshot is None else str(report.snapshot)
        print_json({**asdict(report), "files": files, "snapshot": snapshot})
    else:
        out.print(f"{report.events} events moved to {len(report.files)} files")
        for path in (*report.files, *filter(None, [report.snapshot])):
            out.print(str(path), markup=False, soft_wrap=True)
    if (holder := report.held_back_by) is not None:
        err.print(
            f"Held back by {holder.holder}, which is at position {holder.position}.",
            markup=False,
            soft_wrap=True,
        )


def _print_batch(database: "Database", archive: "JournalArchive", after: int, *, as_json: bool) -> int:
    """Print the next events; return the position reached."""
    from allocation.adapters.journal.archive import JournalWithArchive

    with database.reading() as connection:
        batch = JournalWithArchive(connection, archive).read(after, JOURNAL_BATCH)
    for recorded in batch:
        if as_json:
            print_json(_facts(recorded))
        else:
            by = f" ({recorded.cause.commande})" if recorded.cause.commande else ""
            line = f"{recorded.position:>8} {recorded.survenu_le:%F %T} {recorded.event}{by}"
            out.print(line, markup=False, soft_wrap=True)
    return batch[-1].position if batch else after


def _facts(recorded: "RecordedEvent[Event]") -> dict[str, object]:
    return {
        "position": recorded.position,
        "type": type(recorded.event).__name__,
        "version": recorded.event.version,
        "id": str(recorded.id),
        "survenu_le": recorded.survenu_le.isoformat(),
        "commande": recorded.cause.commande,
        "cause": recorded.cause.id and str(recorded.cause.id),
        "data": vars(recorded.event),
    }
