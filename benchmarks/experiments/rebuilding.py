"""Filling a read model anew from the write model, against the bare INSERT … SELECT of the same rows."""

from functools import partial

from allocation.adapters.postgresql.database import Database
from allocation.projections.rebuild import rebuild
from allocation.service_layer.bootstrap import projection_followers
from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_most
from benchmarks.laboratory import execute, fetch
from benchmarks.rounds import alternate, timed

VIEW = "allocations_view"
COLUMNS = "id_commande, sku, réf_lot, quantité, ligne"
COPY = "bare_copy"

_FILL = f"""
    BEGIN;
    TRUNCATE {COPY};
    INSERT INTO {COPY} ({COLUMNS}) SELECT {COLUMNS} FROM allocations JOIN order_lines USING (sku, rang);
    COMMIT
"""  # noqa: S608
_DIFFERENT = f"""
    SELECT count(*) FROM (SELECT {COLUMNS} FROM {VIEW} EXCEPT ALL SELECT {COLUMNS} FROM {COPY}) AS missing
"""  # noqa: S608


def rebuilding(bench: Bench) -> Finding:
    """The shop's own write model, while the service is stopped."""
    ours, bare = Series("allocation, rebuild", Unit.SECONDS), Series("bare INSERT … SELECT", Unit.SECONDS)
    url = bench.shop.url
    execute(url, f"CREATE TABLE {COPY} (LIKE {VIEW} INCLUDING ALL)")
    with Database(url) as database:
        [follower] = [each for each in projection_followers(database) if each.name == VIEW]

        def rebuilt(_: int) -> float:
            execute(url, "CHECKPOINT")
            return timed(partial(rebuild, database, follower))

        def inserted(_: int) -> float:
            execute(url, "CHECKPOINT")
            return timed(partial(execute, url, _FILL))

        alternate(bench.sizes.slow_rounds, ((ours, rebuilt), (bare, inserted)), bench.say)
    [[rows]], [[different]] = fetch(url, f"SELECT count(*) FROM {COPY}"), fetch(url, _DIFFERENT)  # noqa: S608
    return Finding(
        key="rebuild",
        title="Rebuilding a read model",
        how=f"Seconds to fill {VIEW} anew with {rows:,} rows from the write model; the baseline inserts the "
        "same rows into an identical table, constraints and indexes included.",
        series=(ours, bare),
        figures=[Figure(f"rebuild of {VIEW}, to the bare INSERT", ours, at_most(1.5), bare)],
        problems=[f"{different} rows of the rebuilt view are wrong"] if different else [],
    )
