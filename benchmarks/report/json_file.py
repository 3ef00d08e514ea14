"""Everything that was measured, round by round, for other programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.findings import Figure, Finding, Series
from benchmarks.load_result import LoadResult


def write(path: Path, findings: Sequence[Finding], machine: Mapping[str, str], size: str) -> None:
    """Write the file."""
    content = {"size": size, "machine": machine, "findings": [_finding(each) for each in findings]}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "key": finding.key,
        "title": finding.title,
        "how": finding.how,
        "series": [_series(each) for each in finding.series],
        "figures": [_figure(each) for each in finding.figures],
        "remarks": list(finding.remarks),
        "problems": list(finding.problems),
    }


def _series(series: Series) -> dict[str, Any]:
    content: dict[str, Any] = {"name": series.name, "unit": series.unit.value, "median": series.median}
    return content | {"values": series.values, "loads": [_load(each) for each in series.loads]}


def _load(load: LoadResult) -> dict[str, Any]:
    return {
        "seconds": load.seconds,
        "statuses": load.statuses,
        "lost": load.lost,
        "generator_cpu_s": load.cpu_s,
        "latency_ms": {f"p{percent}": 1000 * load.percentile_s(percent) for percent in (50, 95, 99)},
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "number": figure.number,
        "target": str(figure.target),
        "held": figure.held,
    }
