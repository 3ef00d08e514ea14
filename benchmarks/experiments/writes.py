"""Allocations a second: against plain SQL that writes the same rows, and against other programs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from benchmarks.contestants import Bench, HttpShop, PlainSql
from benchmarks.findings import Figure, Finding, Series, Unit, answers, at_least, better, failures_in
from benchmarks.load_result import LoadResult
from benchmarks.rounds import Measure, alternate
from benchmarks.shop import SPREAD, SPREAD_FAMILY, receive

CLIENTS, MANY_CLIENTS = 32, 128

HOW_HOT = (
    "Successful allocations a second while all clients want the same SKU, over HTTP with two API "
    "workers; each round has a SKU that nobody has bought yet. pgbench writes the same rows by plain "
    "prepared SQL, one transaction for each allocation, without HTTP, without checks and without the "
    "journal's lock: on our own tables, and on bare ones, with neither foreign keys nor indexes but those of "
    "their primary keys. FastAPI stands for what a good engineer would write today without this program: "
    "asyncpg, a transaction for each request, the product's row locked. The naive implementation is the "
    "chapter's code, taken at its word."
)
HOW_SPREAD = "The same as with one hot SKU, for 200 SKUs at random."

Rates: TypeAlias = dict[tuple[str, int], Series]


def hot_sku(bench: Bench) -> Finding:
    """Everyone wants the same article."""
    rates = _compete(bench, _hot_by_sql, _hot_over_http, with_few=[bench.naive])
    sql, naive = rates[bench.sql.name, CLIENTS], rates[bench.naive.name, CLIENTS]
    few, many = _of(bench.shop, rates)
    peer = _better_peer(bench, rates)
    figures = (
        Figure("hot SKU, 32 clients, to pgbench", few, at_least(3.5), sql),
        Figure("hot SKU, 128 clients, to pgbench with 32", many, at_least(6), sql),
        Figure("hot SKU, 128 clients, to the better FastAPI", many, at_least(4), peer),
        Figure("hot SKU, 32 clients, to the naive implementation", few, at_least(30), naive),
    )
    losers = f"The naive implementation's answers: {answers(naive)}. Who loses to another writer gets 500."
    return Finding(
        "hot-sku", "One hot SKU", HOW_HOT, [*rates.values()], figures, [losers], _failures(bench, rates)
    )


def spread(bench: Bench) -> Finding:
    """Orders for 200 SKUs."""
    rates = _compete(bench, _spread_by_sql, _spread_over_http)
    _, many = _of(bench.shop, rates)
    sql, peer = rates[bench.sql.name, CLIENTS], _better_peer(bench, rates)
    figures = (
        Figure("200 SKUs, 128 clients, to pgbench with 32", many, at_least(1), sql),
        Figure("200 SKUs, 128 clients, to the better FastAPI", many, at_least(2), peer),
    )
    problems = _failures(bench, rates)
    return Finding("spread", "200 SKUs", HOW_SPREAD, [*rates.values()], figures, problems=problems)


def _compete(
    bench: Bench,
    by_sql: Callable[[Bench, PlainSql, int, int], float],
    over_http: Callable[[Bench, HttpShop, int, int], LoadResult],
    *,
    with_few: Sequence[HttpShop] = (),
) -> Rates:
    """The rates by name and number of clients; programs `with_few` are too slow for many of them."""
    measures: dict[tuple[str, int], Measure] = {
        **{
            (each.name, clients): partial(by_sql, bench, each, clients)
            for each in (bench.sql, bench.bare)
            for clients in (CLIENTS, MANY_CLIENTS)
        },
        **{
            (each.name, clients): partial(over_http, bench, each, clients)
            for each in (bench.shop, *bench.peers)
            for clients in (CLIENTS, MANY_CLIENTS)
        },
        **{(each.name, CLIENTS): partial(over_http, bench, each, CLIENTS) for each in with_few},
    }
    rates = {key: Series(f"{key[0]}, {key[1]} clients", Unit.RATE) for key in measures}
    alternate(bench.sizes.rounds, [(rates[key], measures[key]) for key in measures], bench.say)
    return rates


def _of(shop: HttpShop, rates: Rates) -> tuple[Series, Series]:
    return rates[shop.name, CLIENTS], rates[shop.name, MANY_CLIENTS]


def _better_peer(bench: Bench, rates: Rates) -> Series:
    return better(*(rates[peer.name, MANY_CLIENTS] for peer in bench.peers))


def _failures(bench: Bench, rates: Rates) -> list[str]:
    return failures_in(*(each for shop in (bench.shop, *bench.peers) for each in _of(shop, rates)))


def _hot_by_sql(bench: Bench, sql: PlainSql, clients: int, number: int) -> float:
    family = f"CHAUD-{clients}-{number}"
    receive(sql.url, [f"{family}-1"])
    return sql.allocate(family, articles=1, clients=clients, seconds=bench.sizes.seconds)


def _hot_over_http(bench: Bench, shop: HttpShop, clients: int, number: int) -> LoadResult:
    sku = shop.receive(f"CHAUD-{clients}-{number}")
    return shop.allocate(sku, clients=clients, seconds=bench.sizes.seconds)


def _spread_by_sql(bench: Bench, sql: PlainSql, clients: int, _: int) -> float:
    return sql.allocate(SPREAD_FAMILY, articles=len(SPREAD), clients=clients, seconds=bench.sizes.seconds)


def _spread_over_http(bench: Bench, shop: HttpShop, clients: int, _: int) -> LoadResult:
    return shop.allocate(*SPREAD, clients=clients, seconds=bench.sizes.seconds)
