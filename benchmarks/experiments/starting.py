"""How long `allocation serve` takes until it is ready, on data that is already there."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_most
from benchmarks.rounds import alternate
from benchmarks.served import allocation_service


def starting(bench: Bench) -> Finding:
    """From the start of the process to the first 200 of /health/ready, again and again."""
    embedded = Series("on the embedded PostgreSQL, stopped before", Unit.SECONDS)
    url = Series("on ALLOCATION_DATABASE_URL", Unit.SECONDS)
    with TemporaryDirectory(prefix="allocation-bench-start-") as directory:
        own = {"ALLOCATION_DATA_DIR": str(Path(directory)), "ALLOCATION_DATABASE_URL": ""}
        bench.say("a first start, which creates the data")
        _seconds_until_ready(own)
        measures = (
            (embedded, _starter(own)),
            (url, _starter({"ALLOCATION_DATABASE_URL": bench.shop.url})),
        )
        alternate(bench.sizes.starts, measures, bench.say)
    limit = at_most(3, Unit.SECONDS)
    return Finding(
        key="start",
        title="Starting",
        how="Seconds from the start of `allocation serve --workers 2` to the first 200 of /health/ready.",
        series=(embedded, url),
        figures=(
            Figure("start on the embedded PostgreSQL", embedded, limit),
            Figure("start on ALLOCATION_DATABASE_URL", url, limit),
        ),
    )


def _starter(environment: Mapping[str, str]) -> Callable[[int], float]:
    return lambda _: _seconds_until_ready(environment)


def _seconds_until_ready(environment: Mapping[str, str]) -> float:
    with allocation_service(environment) as (_, seconds):
        return seconds
