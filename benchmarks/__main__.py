"""`python -m benchmarks`: measure, show the figures, and write the report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.findings import Finding
from benchmarks.laboratory import UnfitServer, laboratory
from benchmarks.sizes import FULL, QUICK, SOAK_ALLOCATIONS, Sizes

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks"

console = Console(stderr=True, highlight=False)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m benchmarks --quick --output results")
def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter rounds, a tenth of the rows.")
    ] = False,
    soak: Annotated[
        bool, typer.Option("--soak", help="Compare the workers' memory after a million allocations.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where JSON, page and plots go.", file_okay=False)] = RESULTS,
) -> None:
    """Measure the program against plain SQL, against itself, against FastAPI and the chapter's own code.

    On the embedded PostgreSQL, or in databases of its own on ALLOCATION_DATABASE_URL. A target that is missed
    is shown; the exit status is 1 if something went wrong, such as an answer that was no success.
    """
    sizes = QUICK if quick else FULL
    if soak:
        sizes = replace(sizes, allocations_before_memory=SOAK_ALLOCATIONS)
    try:
        findings, machine = _measure(sizes)
    except UnfitServer as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(2) from error
    _report(findings, machine, sizes, output)
    problems = [problem for finding in findings for problem in finding.problems]
    for problem in problems:
        console.print(f"[bold red]wrong:[/] {problem}", markup=True)
    raise typer.Exit(1 if problems else 0)


def _measure(sizes: Sizes) -> tuple[list[Finding], dict[str, str]]:
    # What only a run needs is imported for a run: the help works without it.
    from benchmarks.machine import describe  # noqa: PLC0415
    from benchmarks.run import run  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, laboratory() as lab:
        machine = describe(lab.settings)
        task = progress.add_task("setting up")
        findings = []
        for finding in run(lab, sizes, lambda doing: progress.update(task, description=doing)):
            findings.append(finding)
            _show(finding)
    return findings, machine


def _show(finding: Finding) -> None:
    medians = "; ".join(f"{each.name} {each.unit.text(each.median)}" for each in finding.series)
    console.print(f"[bold]{finding.title}:[/] {medians or 'checked'}", soft_wrap=True)


def _report(findings: Sequence[Finding], machine: dict[str, str], sizes: Sizes, output: Path) -> None:
    from benchmarks.report import json_file, page, plots, terminal  # noqa: PLC0415

    Console(highlight=False).print(terminal.table(findings))
    output.mkdir(parents=True, exist_ok=True)
    json_file.write(output / "latest.json", findings, machine, sizes.name)
    page.write(output / "README.md", findings, machine, sizes.name)
    for finding in filter(page.plotted, findings):
        plots.write(output / f"{finding.key}.svg", finding)


if __name__ == "__main__":
    app()
