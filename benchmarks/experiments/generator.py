"""Whether the load generator could be what limits the rest: its own cost, and its own limit."""

from collections.abc import Sequence

from benchmarks import http_messages
from benchmarks.contestants import Bench
from benchmarks.findings import Finding, Series, Unit, failures_in
from benchmarks.load import drive
from benchmarks.responder import responder

CLIENTS = 32
SECONDS = 2


def generator(bench: Bench, loaded: Sequence[Series]) -> Finding:
    """Its limit against an idle server, and what it took of the processor in the fastest of `loaded`."""
    busiest = max(loaded, key=lambda series: series.median)
    bench.say("against a server that does nothing")
    with responder() as address:
        request = http_messages.get("/health/live", address)
        load = drive(address, iter(lambda: request, b""), connections=CLIENTS, seconds=SECONDS)
    limit = Series("limit against a trivial server", Unit.RATE, [load.rate], [load])
    cost = Series("its processor time for one answer", Unit.MICROSECONDS)
    cost.values = [1e6 * each.cpu_per_answer_s for each in (load, *busiest.loads)]
    share = max(each.cpu_s / each.seconds for each in busiest.loads)
    remark = (
        f"Under the fastest load of this run ({busiest.name}, {busiest.median:,.0f}/s), the generator used "
        f"at most {share:.0%} of one processor, at {busiest.median / limit.median:.0%} of its limit."
    )
    return Finding(
        key="generator",
        title="The load generator itself",
        how="One process with non-blocking sockets, on the same machine. Its limit is measured against a "
        "process that only answers; its cost is its own processor time.",
        series=(limit, cost),
        remarks=[remark],
        problems=failures_in(limit),
    )
