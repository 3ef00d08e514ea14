"""What is left of the service when twice as much is asked of it as it can do."""

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, answers, at_least, at_most, failures_in
from benchmarks.load_result import LoadResult
from benchmarks.shop import SPREAD
from benchmarks.waiting_clients import clients_allowed

CLIENTS = 128
# More than the program lets wait: so no request waits for a free connection, which would be kinder to it.
MANY_CLIENTS = 4096
TIMES = 2
SHED = 503


def overload(bench: Bench) -> Finding:
    """Its maximum in a closed loop, then an open loop of twice that, then its maximum again."""
    maximum = Series("maximum, 128 clients", Unit.RATE)
    _measure_maximum(bench, maximum)
    number = clients_allowed(MANY_CLIENTS)
    rate, seconds = TIMES * maximum.median, bench.sizes.overload_seconds
    bench.say(f"{seconds:g} s at {rate:,.0f}/s")
    load = bench.shop.allocate(*SPREAD, clients=number, seconds=seconds, rate=rate)
    _measure_maximum(bench, maximum)
    achieved = Series("under overload, answered with success", Unit.RATE, [load.rate], [load])
    tail = Series("latency of what succeeds, p99", Unit.SECONDS, [load.percentile_of_successes_s(99)])
    return Finding(
        key="overload",
        title="Twice as much as it can do",
        how=f"An open loop of {rate:,.0f} allocations a second on 200 SKUs for {seconds:g} s, {TIMES} times "
        f"what it did just before in a closed loop of {CLIENTS} clients; on {number:,} connections, "
        "so that no request waits for a free one. Latencies are counted from when a request was due.",
        series=(maximum, achieved, tail),
        figures=(
            Figure("successes under twofold overload, to the maximum", achieved, at_least(0.9), maximum),
            Figure("latency of successes under overload, p99", tail, at_most(1, Unit.SECONDS)),
        ),
        remarks=[f"The answers: {answers(achieved)}. {SHED} is how it sheds what it can't do."],
        problems=[*failures_in(maximum), *_neither_done_nor_shed(load)],
    )


def _measure_maximum(bench: Bench, maximum: Series) -> None:
    bench.say("what it can do at most")
    load = bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=bench.sizes.seconds)
    maximum.loads.append(load)
    maximum.values.append(load.rate)


def _neither_done_nor_shed(load: LoadResult) -> list[str]:
    others = load.failed - load.statuses[SHED]
    return (
        [f"under overload, {others} requests were neither carried out nor answered {SHED}"] if others else []
    )
