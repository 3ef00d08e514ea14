"""Reads a second: an order, against the same server's empty route, the naive one, and plain SQL."""

from collections.abc import Sequence
from functools import partial

from benchmarks import http_messages
from benchmarks.contestants import Bench, HttpShop
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, better, failures_in
from benchmarks.load import drive
from benchmarks.load_result import LoadResult
from benchmarks.pgbench import pgbench
from benchmarks.rounds import Measure, alternate

CLIENTS = 32

HOW = (
    "GET /allocations/<id_commande> for random orders, {lines:,} rows in allocations_view (FastAPI: in the "
    "table of lines), 32 clients; the empty route is GET /health/live, which asks the database nothing."
)


def reads(bench: Bench) -> Finding:
    """Random existing orders, while nothing is written."""
    sql = Series("pgbench, prepared SELECT", Unit.RATE)
    empty = Series("allocation, empty route", Unit.RATE)
    http = Series("allocation, order", Unit.RATE)
    peers = [Series(f"{peer.name}, order", Unit.RATE) for peer in bench.peers]
    naive = Series("naive, order", Unit.RATE)
    turns: Sequence[tuple[Series, Measure]] = (
        (sql, partial(_by_sql, bench)),
        (empty, partial(_empty_route, bench)),
        (http, partial(_orders, bench, bench.shop)),
        *((series, partial(_orders, bench, peer)) for series, peer in zip(peers, bench.peers, strict=True)),
        (naive, partial(_orders, bench, bench.naive)),
    )
    alternate(bench.sizes.rounds, turns, bench.say)
    figures = (
        Figure("order read, to the empty route", http, at_least(0.4), empty),
        Figure("order read, to the better FastAPI", http, at_least(2.5), better(*peers)),
        Figure("order read, to the naive implementation", http, at_least(12), naive),
    )
    how, problems = HOW.format(lines=bench.sizes.lines), failures_in(empty, http, *peers, naive)
    series = (sql, empty, http, *peers, naive)
    return Finding("reads", "Reading orders", how, series, figures, problems=problems)


def _by_sql(bench: Bench, _: int) -> float:
    seconds, orders = bench.sizes.seconds, bench.sizes.lines
    return pgbench(bench.sql.url, "read.sql", clients=CLIENTS, seconds=seconds, orders=orders)


def _empty_route(bench: Bench, _: int) -> LoadResult:
    address = bench.shop.served.address
    request = http_messages.get("/health/live", address)
    return drive(address, iter(lambda: request, b""), connections=CLIENTS, seconds=bench.sizes.seconds)


def _orders(bench: Bench, shop: HttpShop, _: int) -> LoadResult:
    return shop.read_orders(bench.sizes.lines, clients=CLIENTS, seconds=bench.sizes.seconds)
