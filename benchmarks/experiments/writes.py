"""Allocations a second: against plain SQL that writes the same rows, and against the chapter's own code."""

from functools import partial

from benchmarks.contestants import Bench, HttpShop
from benchmarks.findings import Figure, Finding, Series, Unit, answers, at_least, failures_in
from benchmarks.load import LoadResult
from benchmarks.pgbench import pgbench
from benchmarks.rounds import alternate
from benchmarks.shop import SPREAD, SPREAD_FAMILY, receive

CLIENTS, MANY_CLIENTS = 32, 128

HOW_HOT = (
    "Successful allocations a second while all clients want the same SKU, over HTTP with two API "
    "workers; each round has a SKU that nobody has bought yet. pgbench writes the same rows by plain "
    "prepared SQL, one transaction for each allocation, without HTTP, without checks and without the "
    "journal's lock. The naive implementation is the chapter's code, taken at its word."
)
HOW_SPREAD = "The same as with one hot SKU, for 200 SKUs at random."


def hot_sku(bench: Bench) -> Finding:
    """Everyone wants the same article."""
    sql = Series("pgbench, 32 clients", Unit.RATE)
    few = Series("allocation, 32 clients", Unit.RATE)
    many = Series("allocation, 128 clients", Unit.RATE)
    naive = Series("naive, 32 clients", Unit.RATE)
    turns = (
        (sql, partial(_hot_by_sql, bench)),
        (few, partial(_hot_over_http, bench, bench.shop, CLIENTS)),
        (many, partial(_hot_over_http, bench, bench.shop, MANY_CLIENTS)),
        (naive, partial(_hot_over_http, bench, bench.naive, CLIENTS)),
    )
    alternate(bench.sizes.rounds, turns, bench.say)
    figures = (
        Figure("hot SKU, 32 clients, to pgbench", few, at_least(1.8), sql),
        Figure("hot SKU, 128 clients, to pgbench with 32", many, at_least(2.5), sql),
        Figure("hot SKU, 32 clients, to the naive implementation", few, at_least(30), naive),
    )
    losers = f"The naive implementation's answers: {answers(naive)}. Who loses to another writer gets 500."
    series, problems = (sql, few, many, naive), failures_in(few, many)
    return Finding("hot-sku", "One hot SKU", HOW_HOT, series, figures, [losers], problems)


def spread(bench: Bench) -> Finding:
    """Orders for 200 SKUs."""
    sql = Series("pgbench, 32 clients", Unit.RATE)
    http = Series("allocation, 32 clients", Unit.RATE)
    turns = ((sql, partial(_spread_by_sql, bench)), (http, partial(_spread_over_http, bench)))
    alternate(bench.sizes.rounds, turns, bench.say)
    figures = [Figure("200 SKUs, 32 clients, to pgbench", http, at_least(0.7), sql)]
    return Finding("spread", "200 SKUs", HOW_SPREAD, (sql, http), figures, problems=failures_in(http))


def _hot_by_sql(bench: Bench, number: int) -> float:
    family = f"CHAUD{number}"
    receive(bench.sql_url, [f"{family}-1"])
    return _by_sql(bench, family, articles=1)


def _hot_over_http(bench: Bench, shop: HttpShop, clients: int, number: int) -> LoadResult:
    sku = shop.receive(f"CHAUD-{clients}-{number}")
    return shop.allocate(sku, clients=clients, seconds=bench.sizes.seconds)


def _spread_by_sql(bench: Bench, _: int) -> float:
    return _by_sql(bench, SPREAD_FAMILY, articles=len(SPREAD))


def _spread_over_http(bench: Bench, _: int) -> LoadResult:
    return bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=bench.sizes.seconds)


def _by_sql(bench: Bench, family: str, *, articles: int) -> float:
    """Allocations a second of the SKUs `<family>-1` to `<family>-<articles>`, at random."""
    seconds = bench.sizes.seconds
    return pgbench(
        bench.sql_url, "allocate.sql", clients=CLIENTS, seconds=seconds, family=family, articles=articles
    )
