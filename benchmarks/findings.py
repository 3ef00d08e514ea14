"""What a run finds out: series of measured values, and figures that have a target."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

from benchmarks.load_result import LoadResult


class Unit(Enum):
    """What a value counts, and how it is written."""

    RATE = "/s"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "µs"
    MEBIBYTES = "MiB"
    CORES = "of a core"

    def text(self, value: float) -> str:
        """The value with its unit, to three digits."""
        digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004
        return f"{digits}{'' if self is Unit.RATE else ' '}{self.value}"


@dataclass
class Series:
    """What was measured of one thing, round by round; `loads` where a load generator measured it."""

    name: str
    unit: Unit
    values: list[float] = field(default_factory=list)
    loads: list[LoadResult] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def failures(self) -> int:
        """Requests that were not answered with success, in all rounds."""
        return sum(load.failed for load in self.loads)

    @property
    def statuses(self) -> Counter[int]:
        """How many answers had which status, in all rounds."""
        return sum((load.statuses for load in self.loads), Counter())

    def percentile_ms(self, percent: float) -> float:
        """The median over the rounds of a percentile of the latency, in milliseconds."""
        return 1000 * median(load.percentile_s(percent) for load in self.loads)


@dataclass(frozen=True)
class Target:
    """What a figure should be: at least, or at most, a number."""

    bound: float
    at_least: bool
    unit: Unit | None = None

    def holds(self, number: float) -> bool:
        """Whether the number keeps to it."""
        return number >= self.bound if self.at_least else number <= self.bound

    def text(self, number: float) -> str:
        """The number as this target counts: a ratio, or a value with its unit."""
        return f"{number:.2f}×" if self.unit is None else self.unit.text(number)

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.text(self.bound)}"


@dataclass(frozen=True)
class Figure:
    """A series against its target; with a `baseline`, the ratio of the two medians counts."""

    name: str
    measured: Series
    target: Target
    baseline: Series | None = None

    @property
    def number(self) -> float:
        """The ratio to the baseline, or the median itself."""
        return self.measured.median / (self.baseline.median if self.baseline else 1)

    @property
    def held(self) -> bool:
        """Whether the target is held."""
        return self.target.holds(self.number)


@dataclass
class Finding:
    """One thing that was looked at. `problems` say why its numbers must not be believed."""

    key: str
    title: str
    how: str
    series: Sequence[Series]
    figures: Sequence[Figure] = ()
    remarks: Sequence[str] = ()
    problems: Sequence[str] = ()


def at_least(bound: float, unit: Unit | None = None) -> Target:
    """A target that larger numbers hold."""
    return Target(bound, at_least=True, unit=unit)


def at_most(bound: float, unit: Unit | None = None) -> Target:
    """A target that smaller numbers hold."""
    return Target(bound, at_least=False, unit=unit)


def better(*series: Series) -> Series:
    """The one with the highest median."""
    return max(series, key=lambda each: each.median)


def failures_in(*series: Series) -> list[str]:
    """A problem for each series in which a request was not answered with success."""
    return [
        f"{each.name}: {each.failures} requests failed; the answers were {answers(each)}"
        for each in series
        if each.failures
    ]


def answers(series: Series) -> str:
    """How many answers had which status, in words."""
    return ", ".join(f"{n:,} × {status}" for status, n in sorted(series.statuses.items()))
