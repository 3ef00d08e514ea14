"""Reads a second: an order, against the same server's empty route, the naive one, and plain SQL."""

from benchmarks import http_messages
from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, failures_in
from benchmarks.load import LoadResult, drive
from benchmarks.pgbench import pgbench
from benchmarks.rounds import alternate

CLIENTS = 32


def reads(bench: Bench) -> Finding:
    """Random existing orders, while nothing is written."""
    sql = Series("pgbench, prepared SELECT", Unit.RATE)
    empty = Series("allocation, empty route", Unit.RATE)
    http = Series("allocation, order", Unit.RATE)
    naive = Series("naive, order", Unit.RATE)
    seconds, lines, address = bench.sizes.seconds, bench.sizes.lines, bench.shop.served.address
    nothing = http_messages.get("/health/live", address)

    def plain_sql(_: int) -> float:
        return pgbench(bench.sql_url, "read.sql", clients=CLIENTS, seconds=seconds, orders=lines)

    def empty_route(_: int) -> LoadResult:
        return drive(address, iter(lambda: nothing, b""), connections=CLIENTS, seconds=seconds)

    def over_http(_: int) -> LoadResult:
        return bench.shop.read_orders(lines, clients=CLIENTS, seconds=seconds)

    def naively(_: int) -> LoadResult:
        return bench.naive.read_orders(lines, clients=CLIENTS, seconds=seconds)

    alternate(
        bench.sizes.rounds,
        ((sql, plain_sql), (empty, empty_route), (http, over_http), (naive, naively)),
        bench.say,
    )
    return Finding(
        key="reads",
        title="Reading orders",
        how=f"GET /allocations/<id_commande> for random orders, {lines:,} rows in allocations_view, 32 "
        "clients; the empty route is GET /health/live, which asks the database nothing.",
        series=(sql, empty, http, naive),
        figures=(
            Figure("order read, to the empty route", http, at_least(0.45), empty),
            Figure("order read, to the naive implementation", http, at_least(4), naive),
        ),
        problems=failures_in(empty, http, naive),
    )
