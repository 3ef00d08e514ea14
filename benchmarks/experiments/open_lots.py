"""Allocations a second on a SKU with many open lots, against one with a single lot."""

from functools import partial

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, failures_in
from benchmarks.load_result import LoadResult
from benchmarks.rounds import alternate

CLIENTS = 32
ONE, MANY = "UN-LOT", "LOTS"


def open_lots(bench: Bench) -> Finding:
    """Everyone wants the one article, then everyone the other, in turn."""
    lots = bench.sizes.open_lots
    bench.say(f"receiving {lots:,} lots")
    bench.shop.receive(ONE)
    received = bench.shop.receive_many(MANY, lots)
    one = Series("SKU with one lot", Unit.RATE)
    many = Series(f"SKU with {lots:,} open lots", Unit.RATE)
    turns = ((one, partial(_hot, bench, ONE)), (many, partial(_hot, bench, MANY)))
    alternate(bench.sizes.rounds, turns, bench.say)
    return Finding(
        key="open-lots",
        title="Many open lots",
        how=f"Successful allocations a second, {CLIENTS} clients over HTTP, all of them for one SKU: in turn "
        "for the one and the other.",
        series=(one, many),
        figures=[Figure(f"{lots:,} open lots on the SKU, to one", many, at_least(0.8), one)],
        problems=[
            *failures_in(one, many),
            *([f"{received.failed} lots were not received"] if received.failed else []),
        ],
    )


def _hot(bench: Bench, sku: str, _: int) -> LoadResult:
    return bench.shop.allocate(sku, clients=CLIENTS, seconds=bench.sizes.seconds)
