"""A lot that turns out to be empty: how long its lines take to move, and how long others wait meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_most, failures_in
from benchmarks.load_result import LoadResult
from benchmarks.rounds import timed
from benchmarks.shop import SPREAD

CLIENTS, RATE = 8, 200
WINDOW_S = 1.0
SKU = "CORRECTION"


def large_correction(bench: Bench) -> Finding:
    """One correction, under a light load of orders for other articles; before it, the same load alone."""
    lines = bench.sizes.correction_lines
    bench.say(f"{lines:,} lines on one lot")
    bench.shop.receive(SKU)
    filled = bench.shop.allocate(SKU, clients=32, lines=lines)
    bench.shop.receive(SKU, réf=f"autre-{SKU}")
    took = Series(f"correction that moves {lines:,} lines", Unit.SECONDS)
    alone = Series("other articles before it, p99", Unit.MILLISECONDS)
    meanwhile = Series("other articles meanwhile, p99", Unit.MILLISECONDS)
    _note(alone, _others(bench, WINDOW_S))
    bench.say("correcting the lot to 0")
    with ThreadPoolExecutor(1) as pool:
        correction = pool.submit(timed, partial(bench.shop.correct, f"lot-{SKU}", 0))
        while not correction.done():
            _note(meanwhile, _others(bench, WINDOW_S))
    took.values = [correction.result()]
    return Finding(
        key="large-correction",
        title="A correction that moves many lines",
        how="`PATCH /lots/<réf>` with 0 moves all lines of the lot to another one, under an open loop of "
        f"{RATE} allocations a second on 200 other SKUs. Percentiles: medians over windows of a second.",
        series=(took, alone, meanwhile),
        figures=[
            Figure("other articles during a correction, p99", meanwhile, at_most(500, Unit.MILLISECONDS))
        ],
        problems=[
            *failures_in(alone, meanwhile),
            *([f"{filled.failed} lines were not allocated"] if filled.failed else []),
        ],
    )


def _others(bench: Bench, seconds: float) -> LoadResult:
    return bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=seconds, rate=RATE)


def _note(series: Series, load: LoadResult) -> None:
    series.loads.append(load)
    series.values.append(1000 * load.percentile_s(99))
