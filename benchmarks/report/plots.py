"""Plots of what was compared, as SVG."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.findings import Finding

WIDTH_INCHES, INCHES_PER_BAR = 7.5, 0.55
# Equal values give equal files, and text stays text.
STYLE = {"svg.hashsalt": "allocation", "svg.fonttype": "none", "font.size": 9}


def write(path: Path, finding: Finding) -> None:
    """Draw the median of each series as a bar, and each round as a dot."""
    unit = finding.series[0].unit
    names, medians = zip(*((series.name, series.median) for series in finding.series), strict=True)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 1 + INCHES_PER_BAR * len(names)))
        axes = figure.subplots()
        axes.bar_label(axes.barh(names, medians, color="#8fb3d9"), map(unit.text, medians), padding=6)
        for series in finding.series:
            axes.plot(
                series.values, [series.name] * len(series.values), "o", color="#1f4e79", ms=3, alpha=0.5
            )
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(f"{unit.value} (bar: median; dots: rounds)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
