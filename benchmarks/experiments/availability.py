"""How soon a shop knows what it can sell, for all articles of a page at once."""

from benchmarks import http_messages
from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, at_most, failures_in
from benchmarks.load import drive
from benchmarks.shop import SPREAD

RATE = 500
CLIENTS = 64


def availability(bench: Bench) -> Finding:
    """A constant load of questions for a hundred SKUs each."""
    seconds = bench.sizes.steady_seconds
    bench.say(f"{seconds:g} s at {RATE}/s")
    requests = http_messages.availabilities(bench.shop.served.address, SPREAD)
    load = drive(bench.shop.served.address, requests, connections=CLIENTS, seconds=seconds, rate=RATE)
    tail = Series("latency, p99", Unit.MILLISECONDS, [1000 * load.percentile_s(99)])
    achieved = Series(f"answers achieved of {RATE}/s", Unit.RATE, [load.rate], [load])
    return Finding(
        key="availability",
        title="What can be sold",
        how=f"An open loop of {RATE} times a second `POST /disponibilités` with {http_messages.SKUS_AT_ONCE} "
        f"of {len(SPREAD)} SKUs at random. Latencies are counted from when a request was due.",
        series=(tail, achieved),
        figures=(
            Figure(f"availability of 100 SKUs at {RATE}/s, p99", tail, at_most(15, Unit.MILLISECONDS)),
            Figure(f"answers achieved of {RATE}/s", achieved, at_least(0.95 * RATE, Unit.RATE)),
        ),
        problems=failures_in(achieved),
    )
