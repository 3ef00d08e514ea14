"""Folding the whole journal into two read models, against one SQL statement for each that does the same."""

from collections.abc import Sequence
from functools import partial

from allocation.adapters.journal.ledger import ETA, entering, moves
from allocation.adapters.journal.listener import Waker
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.ledger import Compartiment
from allocation.projections.follower import Follower
from allocation.projections.projector import Projector, register
from allocation.service_layer.bootstrap import projection_followers
from benchmarks.contestants import Bench
from benchmarks.experiments.lag import POLL_S, wait_until_visible
from benchmarks.findings import Figure, Finding, Series, Unit, at_most
from benchmarks.laboratory import execute, fetch
from benchmarks.rounds import alternate, timed

SKUS = 1000
VIEWS = {
    "allocations_view": "id_commande, sku, réf_lot, quantité, ligne",
    "stock_view": "sku, en_stock, en_transit, alloué, disponible, prochaine_eta",
}

# A lot for each SKU, then lines that get a unit each; of every hundredth, it is taken back in the end.
_JOURNAL = """
    INSERT INTO journal (id, type, version, sku, réf_lot, id_commande, ligne, quantité, de, vers, data)
    SELECT gen_random_uuid(), 'LotCréé', 1, 'SKU-' || n,
           'lot-' || n, NULL, NULL, 1000000, 'hors_stock', 'libre',
           jsonb_build_object('réf_lot', 'lot-' || n, 'sku', 'SKU-' || n, 'quantité', 1000000, 'eta', null)
    FROM generate_series(0, %(skus)s - 1) AS n
    UNION ALL
    SELECT gen_random_uuid(), type, 1, 'SKU-' || n %% %(skus)s,
           'lot-' || n %% %(skus)s, 'c-' || n, '1', 1, de, vers,
           jsonb_build_object('id_commande', 'c-' || n, 'sku', 'SKU-' || n %% %(skus)s, 'quantité', 1,
                              'réf_lot', 'lot-' || n %% %(skus)s, 'ligne', '1')
    FROM (SELECT 'Alloué' AS type, n, 'libre' AS de, 'alloué' AS vers FROM generate_series(1, %(lines)s) AS n
          UNION ALL
          SELECT 'Désalloué', n, 'alloué', 'libre' FROM generate_series(1, %(lines)s, 100) AS n) AS line
"""
_FOLD_ALLOCATIONS = f"""
    INSERT INTO allocations_view (id_commande, sku, réf_lot, quantité, ligne)
    SELECT id_commande, sku, réf_lot, sum({entering(Compartiment.ALLOUÉ)}), ligne
    FROM journal WHERE {moves(Compartiment.ALLOUÉ)} GROUP BY id_commande, sku, réf_lot, ligne
    HAVING sum({entering(Compartiment.ALLOUÉ)}) > 0
"""  # noqa: S608 - our own text
_FOLD_STOCK = f"""
    INSERT INTO stock_view (sku, en_stock, en_transit, alloué, disponible, prochaine_eta)
    SELECT sku, coalesce(- sum({entering(Compartiment.HORS_STOCK)}) FILTER (WHERE {ETA} IS NULL), 0),
           coalesce(- sum({entering(Compartiment.HORS_STOCK)}) FILTER (WHERE {ETA} IS NOT NULL), 0),
           sum({entering(Compartiment.ALLOUÉ)}), sum({entering(Compartiment.LIBRE)}), min({ETA})
    FROM journal GROUP BY sku
"""  # noqa: S608 - our own text


def replay(bench: Bench) -> Finding:
    """A journal of a thousand SKUs, made by SQL, from its first event to its last."""
    ours, fold = Series("allocation, replay", Unit.SECONDS), Series("plain SQL, fold", Unit.SECONDS)
    contents: dict[str, list[object]] = {}
    url = bench.lab.create("journal")
    with Database(url) as database:
        migrate(database)
        followers = [each for each in projection_followers(database) if each.name in VIEWS]
        register(followers)
        events = _journal(url, bench.sizes.lines)

        def replayed(_: int) -> float:
            _empty(url)
            seconds = timed(partial(_follow, followers, url, events))
            contents["replay"] = _contents(url)
            return seconds

        def folded(_: int) -> float:
            _empty(url)
            seconds = timed(partial(execute, url, _FOLD_ALLOCATIONS, _FOLD_STOCK))
            contents["fold"] = _contents(url)
            return seconds

        alternate(bench.sizes.slow_rounds, ((ours, replayed), (fold, folded)), bench.say)
    return Finding(
        key="replay",
        title="Replaying the journal",
        how=f"Seconds to fold {events:,} events of {SKUS:,} SKUs into allocations_view and stock_view, from "
        "empty tables, as the projection worker does; the baseline is one INSERT … SELECT for each table "
        "that folds the same journal.",
        series=(ours, fold),
        figures=[Figure(f"replay of {events:,} events, to SQL", ours, at_most(2), fold)],
        problems=[] if contents["replay"] == contents["fold"] else [f"the views differ: {contents}"],
    )


def _journal(url: str, lines: int) -> int:
    """The position of the last event of a new journal."""
    execute(url, _JOURNAL, skus=SKUS, lines=lines)
    execute(url, "VACUUM ANALYZE journal")
    [[end]] = fetch(url, "SELECT max(position) FROM journal")
    return int(end)


def _follow(followers: Sequence[Follower], url: str, until: int) -> None:
    """Let the followers run, side by side, until all have come to this position."""
    with Projector(followers, Waker(), poll_interval=POLL_S):
        wait_until_visible(url, until)


def _empty(url: str) -> None:
    execute(url, f"TRUNCATE {', '.join(VIEWS)}", "UPDATE projections SET position = 0", "CHECKPOINT")


def _contents(url: str) -> list[object]:
    """The number of rows in each view, and a checksum of them that does not depend on their order."""
    return [
        fetch(url, f"SELECT count(*), sum(hashtextextended(({columns})::text, 0)) FROM {view}")  # noqa: S608
        for view, columns in VIEWS.items()
    ]
