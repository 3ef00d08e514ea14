"""Measuring things side by side: A B A B …, so that a disturbance of the machine hits all of them."""

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from benchmarks.findings import Series
from benchmarks.load_result import LoadResult

Measure: TypeAlias = Callable[[int], float | LoadResult]


def alternate(rounds: int, measures: Sequence[tuple[Series, Measure]], say: Callable[[str], None]) -> None:
    """Let the measures take turns; each is told the round, and its series gets what it returns."""
    for number in range(1, rounds + 1):
        for series, measure in measures:
            say(f"{series.name}, round {number} of {rounds}")
            note(series, measure(number))


def note(series: Series, measured: float | LoadResult) -> None:
    """Add a value, or a load and its rate."""
    if isinstance(measured, LoadResult):
        series.loads.append(measured)
        series.values.append(measured.rate)
    else:
        series.values.append(measured)


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
