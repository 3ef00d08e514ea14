"""A whole run: what is set up, and what is measured on it, in which order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.contestants import Bench, HttpShop
from benchmarks.experiments.flat_cost import flat_cost
from benchmarks.experiments.generator import generator
from benchmarks.experiments.importing import importing
from benchmarks.experiments.lag import lag
from benchmarks.experiments.large_correction import large_correction
from benchmarks.experiments.live_rebuild import live_rebuild
from benchmarks.experiments.memory import MemoryProbe
from benchmarks.experiments.open_lots import open_lots
from benchmarks.experiments.reads import reads
from benchmarks.experiments.rebuilding import rebuilding
from benchmarks.experiments.replay import replay
from benchmarks.experiments.soundness import soundness
from benchmarks.experiments.starting import starting
from benchmarks.experiments.steady import steady
from benchmarks.experiments.takeover import takeover
from benchmarks.experiments.writes import hot_sku, spread
from benchmarks.findings import Finding
from benchmarks.laboratory import Laboratory, execute
from benchmarks.naive.flask_app import create_tables
from benchmarks.served import allocation_service, naive_service
from benchmarks.shop import open_shop
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
    yield flat_cost(bench)
    yield open_lots(bench)
    yield large_correction(bench)
    yield lag(bench)
    yield steady(bench, maximum=spread_out.series[-1])
    yield live_rebuild(bench)
    yield importing(bench)
    yield memory.finish(bench)
    yield soundness(bench)


@contextmanager
def _bench(lab: Laboratory, sizes: Sizes, say: Callable[[str], None]) -> Iterator[Bench]:
    """The contestants, on databases with the same rows, warmed up."""
    say(f"a shop with {sizes.lines:,} lines")
    shop_url, naive_url = lab.create("shop"), lab.create("naive")
    open_shop(shop_url, sizes.lines)
    sql_url = lab.create("sql", template="shop")
    execute(sql_url, "VACUUM ANALYZE")
    create_tables(naive_url)
    execute(naive_url, _NAIVE_VIEW, lines=sizes.lines)
    execute(naive_url, "VACUUM ANALYZE")
    say("starting what serves HTTP")
    with (
        allocation_service({"ALLOCATION_DATABASE_URL": shop_url}) as (served, _),
        naive_service(naive_url) as naive_served,
    ):
        bench = Bench(sizes, lab, HttpShop(served, shop_url), HttpShop(naive_served, naive_url), sql_url, say)
        _warm_up(bench)
        yield bench


def _warm_up(bench: Bench) -> None:
    bench.say("warming up")
    for shop in (bench.shop, bench.naive):
        shop.receive("CHAUFFE")
        shop.allocate("CHAUFFE", clients=4, seconds=WARM_UP_S)
        shop.read_orders(bench.sizes.lines, clients=4, seconds=WARM_UP_S)
