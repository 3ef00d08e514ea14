"""Allocations a second: against plain SQL that writes the same rows, and against the chapter's own code."""

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, answers, at_least, failures_in
from benchmarks.load import LoadResult
from benchmarks.pgbench import pgbench
from benchmarks.rounds import alternate
from benchmarks.shop import SPREAD, SPREAD_FAMILY, receive

CLIENTS, MANY_CLIENTS = 32, 128
SCRIPT = "allocate.sql"


def hot_sku(bench: Bench) -> Finding:
    """Everyone wants the same article; each round has a new one, which nobody has bought yet."""
    sql = Series("pgbench, 32 clients", Unit.RATE)
    few = Series("allocation, 32 clients", Unit.RATE)
    many = Series("allocation, 128 clients", Unit.RATE)
    naive = Series("naive, 32 clients", Unit.RATE)

    def plain_sql(number: int) -> float:
        receive(bench.sql_url, [f"CHAUD{number}-1"])
        family = f"CHAUD{number}"
        return pgbench(
            bench.sql_url, SCRIPT, clients=CLIENTS, seconds=bench.sizes.seconds, family=family, articles=1
        )

    def over_http(number: int) -> LoadResult:
        sku = bench.shop.receive(f"CHAUD-{number}")
        return bench.shop.allocate(sku, clients=CLIENTS, seconds=bench.sizes.seconds)

    def over_many_connections(number: int) -> LoadResult:
        sku = bench.shop.receive(f"BRÛLANT-{number}")
        return bench.shop.allocate(sku, clients=MANY_CLIENTS, seconds=bench.sizes.seconds)

    def naively(number: int) -> LoadResult:
        sku = bench.naive.receive(f"CHAUD-{number}")
        return bench.naive.allocate(sku, clients=CLIENTS, seconds=bench.sizes.seconds)

    alternate(
        bench.sizes.rounds,
        ((sql, plain_sql), (few, over_http), (many, over_many_connections), (naive, naively)),
        bench.say,
    )
    return Finding(
        key="hot-sku",
        title="One hot SKU",
        how="Successful allocations a second while all clients want the same SKU, over HTTP with two API "
        "workers. pgbench writes the same rows by plain prepared SQL, one transaction for each allocation, "
        "without HTTP, without checks and without the journal's lock. The naive implementation is the "
        "chapter's code, taken at its word.",
        series=(sql, few, many, naive),
        figures=(
            Figure("hot SKU, 32 clients, to pgbench", few, at_least(1.8), sql),
            Figure("hot SKU, 128 clients, to pgbench with 32", many, at_least(2.5), sql),
            Figure("hot SKU, 32 clients, to the naive implementation", few, at_least(30), naive),
        ),
        remarks=[
            f"The naive implementation's answers: {answers(naive)}. Who loses to another writer gets 500."
        ],
        problems=failures_in(few, many),
    )


def spread(bench: Bench) -> Finding:
    """Orders for 200 SKUs at random."""
    sql = Series("pgbench, 32 clients", Unit.RATE)
    http = Series("allocation, 32 clients", Unit.RATE)
    seconds, articles = bench.sizes.seconds, len(SPREAD)

    def plain_sql(_: int) -> float:
        return pgbench(
            bench.sql_url, SCRIPT, clients=CLIENTS, seconds=seconds, family=SPREAD_FAMILY, articles=articles
        )

    def over_http(_: int) -> LoadResult:
        return bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=seconds)

    alternate(bench.sizes.rounds, ((sql, plain_sql), (http, over_http)), bench.say)
    return Finding(
        key="spread",
        title="200 SKUs",
        how="The same as with one hot SKU, for 200 SKUs at random.",
        series=(sql, http),
        figures=[Figure("200 SKUs, 32 clients, to pgbench", http, at_least(0.7), sql)],
        problems=failures_in(http),
    )
