"""The figures and their targets, as a table."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.findings import Figure, Finding

COLUMNS = ("figure", "measured", "against", "is", "target", "held")


def table(findings: Sequence[Finding]) -> Table:
    """One row for each figure."""
    drawn = Table(title="Figures and targets", title_justify="left")
    for column in COLUMNS:
        drawn.add_column(column, justify="left" if column == "figure" else "right")
    for finding in findings:
        for figure in finding.figures:
            *texts, held = row(figure)
            drawn.add_row(*texts, f"[{'green' if figure.held else 'red'}]{held}")
    return drawn


def row(figure: Figure) -> tuple[str, ...]:
    """A figure in words, by COLUMNS."""
    return (
        figure.name,
        figure.measured.unit.text(figure.measured.median),
        figure.baseline.unit.text(figure.baseline.median) if figure.baseline else "",
        figure.target.text(figure.number),
        str(figure.target),
        "yes" if figure.held else "no",
    )
