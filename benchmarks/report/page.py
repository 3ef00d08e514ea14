"""The page for readers: every figure with its target, and how each thing was measured."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.findings import Finding, Series
from benchmarks.report.terminal import COLUMNS, row

INTRODUCTION = """\
`make bench` wrote this page, in one run on one machine. What is compared was measured in turn, round by round
(A B A B …), and each number is the median of its rounds. Commits were durable: `fsync` is on. A target that
was missed is shown as missed. All numbers, round by round, are in [latest.json](latest.json).
"""


def write(path: Path, findings: Sequence[Finding], machine: Mapping[str, str], size: str) -> None:
    """Write the page; the plots are beside it."""
    parts = [
        *("# Benchmarks", INTRODUCTION),
        *("## Figures and targets", _figures(findings)),
        *(part for finding in findings for part in _finding(finding)),
        *("## The machine", _table(("", ""), [("size of the run", size), *machine.items()])),
    ]
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def plotted(finding: Finding) -> bool:
    """Whether there is something to compare in a plot: several series in one unit."""
    return len(finding.series) > 1 and len({series.unit for series in finding.series}) == 1


def _figures(findings: Sequence[Finding]) -> str:
    return _table(COLUMNS, [row(figure) for finding in findings for figure in finding.figures])


def _finding(finding: Finding) -> Iterator[str]:
    yield f"## {finding.title}"
    yield finding.how
    if finding.series:
        yield _series_table(finding.series)
    if plotted(finding):
        yield f"![{finding.title}]({finding.key}.svg)"
    yield from finding.remarks
    yield from (f"**Not to be believed:** {problem}" for problem in finding.problems)


def _series_table(series: Sequence[Series]) -> str:
    header: tuple[str, ...] = ("", "median", "rounds")
    rows: list[tuple[str, ...]] = [(each.name, each.unit.text(each.median), _rounds(each)) for each in series]
    if any(each.loads for each in series):
        header = (*header, "p50", "p95", "p99", "failed")
        rows = [(*cells, *_latencies(each)) for cells, each in zip(rows, series, strict=True)]
    return _table(header, rows)


def _rounds(series: Series) -> str:
    texts = [series.unit.text(value) for value in series.values]
    return ", ".join(texts) if len(texts) <= 5 else f"{len(texts)} values"  # noqa: PLR2004


def _latencies(series: Series) -> tuple[str, ...]:
    if not series.loads:
        return ("",) * 4
    percentiles = (f"{series.percentile_ms(percent):.1f} ms" for percent in (50, 95, 99))
    return (*percentiles, f"{series.failures:,}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
