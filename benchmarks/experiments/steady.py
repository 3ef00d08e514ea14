"""Latency at half of what the program can do."""

from benchmarks.contestants import Bench
from benchmarks.findings import Finding, Series, Unit, failures_in
from benchmarks.shop import SPREAD

CLIENTS = 64


def steady(bench: Bench, maximum: Series) -> Finding:
    """A constant load of half the `maximum` on 200 SKUs; no request waits for another's answer."""
    rate = maximum.median / 2
    bench.say(f"{bench.sizes.steady_seconds} s at {rate:.0f}/s")
    load = bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=bench.sizes.steady_seconds, rate=rate)
    achieved = Series("allocations achieved", Unit.RATE, [load.rate], [load])
    latencies = [
        Series(f"latency, p{percent}", Unit.MILLISECONDS, [1000 * load.percentile_s(percent)])
        for percent in (50, 95, 99)
    ]
    return Finding(
        key="steady",
        title="Latency under a constant load",
        how=f"An open loop of {rate:,.0f} allocations a second on 200 SKUs, half of the measured maximum. "
        "Latencies are counted from when a request was due, not from when it could be sent.",
        series=(*latencies, achieved),
        problems=failures_in(achieved),
    )
