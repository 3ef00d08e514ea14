"""What a user is told about an import: its progress, where it stopped, and what became of the lines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from allocation.entrypoints.cli.console import err, print_json, print_table

if TYPE_CHECKING:
    from collections import Counter

    from allocation.entrypoints.csv_files.importing import Report
    from allocation.entrypoints.csv_files.reading import CsvReading


@contextmanager
def progress_of(file: "CsvReading") -> "Iterator[Callable[[int], None]]":
    """Within the context, show on a terminal how much of the file has been read."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task(file.path.name, total=file.source.size)
        yield lambda done: progress.update(task, completed=done)


def print_counts(path: Path, counts: "Counter[str]", *, as_json: bool) -> None:
    """Print how many lines had each outcome."""
    if as_json:
        print_json(counts)
    else:
        print_table(path.name, [counts])


def print_report(file: "CsvReading", report: "Report", seconds: float, *, as_json: bool) -> None:
    """Print what became of the lines, and where to find those that need attention."""
    summary = report.counts.copy()
    if file.shape.numbered:
        summary["repeated by place"] = report.repeated_by_place
        summary["incomplete orders"] = report.incomplete_orders
    summary["lines/s"] = round(report.counts.total() / seconds)
    print_counts(file.path, summary, as_json=as_json)
    for outcome, path in report.files.items():
        _say(f"The {outcome} lines and why: {path}")
    if report.incomplete_orders:
        _say(f"Incomplete orders: {report.incomplete_orders}")
    if not report.counts.total() and not report.stopped:
        _say("The file has a header but no lines.")
    if report.repeated_by_place:
        _say(
            "Lines without a number, taken for repetitions of known lines as when a file is imported again: "
            f"{report.repeated_by_place}. If they are further lines of their orders, use --append."
        )


def say_how_far(report: "Report", *, exactly: bool) -> None:
    """Print how far an interrupted import has come."""
    if exactly:
        _say(f"Stopped after line {report.last_line}: the lines up to it are done, those after it are not.")
    else:
        _say(
            f"Done up to line {report.last_line} of the file; some later lines may be done, too. "
            "Import the file again: lines that are done count as repeated."
        )


def _say(sentence: str) -> None:
    err.print(sentence, soft_wrap=True, markup=False)
