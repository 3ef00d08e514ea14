"""The time of one allocation on a SKU with many lines, against one with few."""

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_most, failures_in
from benchmarks.shop import FEW, FEW_LINES, MANY

WARM_UP_PAIRS = 20


def flat_cost(bench: Bench) -> Finding:
    """One client, whose requests go to the one and to the other SKU in turn."""
    few = Series(f"SKU with {FEW_LINES} lines", Unit.MILLISECONDS)
    many = Series(f"SKU with {bench.sizes.lines:,} lines", Unit.MILLISECONDS)
    bench.say(f"{bench.sizes.pairs} pairs of requests")
    bench.shop.allocate_in_turn(FEW, MANY, lines=2 * WARM_UP_PAIRS)
    load = bench.shop.allocate_in_turn(FEW, MANY, lines=2 * bench.sizes.pairs)
    few.values = [1000 * latency for latency in load.latencies_s[::2]]
    many.values = [1000 * latency for latency in load.latencies_s[1::2]]
    many.loads = [load]
    return Finding(
        key="flat-cost",
        title="The cost of an allocation does not grow",
        how="One client over HTTP, one request after the other, in turn for the one and the other SKU.",
        series=(few, many),
        figures=[Figure(f"{bench.sizes.lines:,} lines on the SKU, to {FEW_LINES}", many, at_most(1.2), few)],
        problems=failures_in(many),
    )
