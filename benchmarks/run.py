"""A whole run: what is set up, and what is measured on it, in which order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.contestants import Bench, HttpShop, PlainSql
from benchmarks.experiments.availability import availability
from benchmarks.experiments.flat_cost import flat_cost
from benchmarks.experiments.generator import generator
from benchmarks.experiments.importing import importing
from benchmarks.experiments.lag import lag
from benchmarks.experiments.large_correction import large_correction
from benchmarks.experiments.live_rebuild import live_rebuild
from benchmarks.experiments.memory import MemoryProbe
from benchmarks.experiments.open_lots import open_lots
from benchmarks.experiments.overload import overload
from benchmarks.experiments.projecting import projecting
from benchmarks.experiments.reads import reads
from benchmarks.experiments.rebuilding import rebuilding
from benchmarks.experiments.replay import replay
from benchmarks.experiments.soundness import soundness
from benchmarks.experiments.starting import starting
from benchmarks.experiments.steady import steady
from benchmarks.experiments.takeover import takeover
from benchmarks.experiments.waiting_reads import waiting_reads
from benchmarks.experiments.writes import hot_sku, spread
from benchmarks.findings import Finding, Series, better
from benchmarks.laboratory import Laboratory, execute
from benchmarks.naive.flask_app import create_tables as create_naive_tables
from benchmarks.peers import tables as peer_tables
from benchmarks.served import allocation_service, granian_peer, naive_service, uvicorn_peer
from benchmarks.shop import MANY, SPREAD, open_shop, strip
from benchmarks.sizes import Sizes

WARM_UP_S = 1

_NAIVE_VIEW = """
    INSERT INTO allocations_view (id_commande, sku, réf_lot)
    SELECT 'c-' || n, 'BEAUCOUP', 'lot-BEAUCOUP' FROM generate_series(1, %(lines)s) AS n
"""


def run(lab: Laboratory, sizes: Sizes, say: Callable[[str], None]) -> Iterator[Finding]:
    """Every finding, one after the other; `say` is told what is going on."""
    with _bench(lab, sizes, say) as bench:
        yield from _while_serving(bench)
    yield replay(bench)
    yield rebuilding(bench)
    yield takeover(bench)
    yield starting(bench)


def _while_serving(bench: Bench) -> Iterator[Finding]:
    memory = MemoryProbe(bench)
    yield hot_sku(bench)
    yield (spread_out := spread(bench))
    yield (read := reads(bench))
    yield generator(bench, loaded=[series for series in read.series if series.loads])
    yield availability(bench)
    yield flat_cost(bench)
    yield open_lots(bench)
    yield large_correction(bench)
    yield lag(bench)
    yield projecting(bench)
    yield steady(bench, maximum=_most(spread_out, bench.shop))
    yield live_rebuild(bench)
    yield importing(bench)
    yield memory.finish(bench)
    # These come with thousands of connections, after which the C library gives little memory back.
    yield waiting_reads(bench)
    yield overload(bench)
    yield soundness(bench)


def _most(rates: Finding, shop: HttpShop) -> Series:
    """What the program can do at most."""
    return better(*(series for series in rates.series if series.name.startswith(shop.name)))


@contextmanager
def _bench(lab: Laboratory, sizes: Sizes, say: Callable[[str], None]) -> Iterator[Bench]:
    """The contestants, on databases with the same rows, warmed up."""
    say(f"a shop with {sizes.lines:,} lines")
    shop_url, naive_url, uvicorn_url = lab.create("shop"), lab.create("naive"), lab.create("uvicorn")
    open_shop(shop_url, sizes.lines)
    _open_naive_shop(naive_url, sizes.lines)
    _open_peer_shop(uvicorn_url, sizes.lines)
    granian_url = lab.create("granian", template="uvicorn")
    sql, bare = _plain_sql(lab)
    say("starting what serves HTTP")
    with (
        allocation_service({"ALLOCATION_DATABASE_URL": shop_url}) as (served, _),
        uvicorn_peer(uvicorn_url) as uvicorn_served,
        granian_peer(granian_url) as granian_served,
        naive_service(naive_url) as naive_served,
    ):
        peers = (
            HttpShop("FastAPI on Uvicorn", uvicorn_served, uvicorn_url),
            HttpShop("FastAPI on Granian", granian_served, granian_url),
        )
        shop = HttpShop("allocation", served, shop_url)
        bench = Bench(sizes, lab, shop, peers, HttpShop("naive", naive_served, naive_url), sql, bare, say)
        _warm_up(bench)
        yield bench


def _plain_sql(lab: Laboratory) -> tuple[PlainSql, PlainSql]:
    sql = PlainSql("pgbench", lab.create("sql", template="shop"))
    bare = PlainSql("pgbench on bare tables", lab.create("bare", template="shop"))
    strip(bare.url)
    for each in (sql, bare):
        execute(each.url, "VACUUM ANALYZE")
    return sql, bare


def _open_naive_shop(url: str, lines: int) -> None:
    create_naive_tables(url)
    execute(url, _NAIVE_VIEW, lines=lines)
    execute(url, "VACUUM ANALYZE")


def _open_peer_shop(url: str, lines: int) -> None:
    peer_tables.create_tables(url)
    peer_tables.receive(url, [MANY], lines=lines)
    peer_tables.receive(url, list(SPREAD))
    execute(url, "VACUUM ANALYZE")


def _warm_up(bench: Bench) -> None:
    bench.say("warming up")
    for shop in (bench.shop, *bench.peers, bench.naive):
        shop.receive("CHAUFFE")
        shop.allocate("CHAUFFE", clients=4, seconds=WARM_UP_S)
        shop.read_orders(bench.sizes.lines, clients=4, seconds=WARM_UP_S)
