"""A shop that has been in business for a while, made by SQL, as consistent as if it was made by orders."""

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.projections.projector import register
from allocation.projections.rebuild import rebuild
from allocation.service_layer.bootstrap import projection_followers
from benchmarks.laboratory import execute

MANY, FEW = "BEAUCOUP", "PEU"
FEW_LINES = 10
SPREAD_FAMILY = "ARTICLE"
SPREAD = tuple(f"{SPREAD_FAMILY}-{number}" for number in range(1, 201))
PLENTY = 500_000_000

_PRODUCTS = """
    INSERT INTO produits (sku, version, dernier_rang)
    SELECT sku, %(lines)s + 1, %(lines)s FROM unnest(%(skus)s::text[]) AS sku
"""
_LOTS = """
    INSERT INTO lots (sku, référence, quantité_initiale, quantité, quantité_allouée, rang)
    SELECT sku, 'lot-' || sku, %(plenty)s, %(plenty)s, %(lines)s, 1 FROM unnest(%(skus)s::text[]) AS sku
"""
_LINES = """
    INSERT INTO order_lines (sku, id_commande, ligne, quantité, rang)
    SELECT sku, 'c-' || rang, '1', 1, rang
    FROM unnest(%(skus)s::text[]) AS sku, generate_series(1, %(lines)s) AS rang
"""
_ALLOCATIONS = """
    INSERT INTO allocations (sku, rang, réf_lot)
    SELECT sku, rang, 'lot-' || sku
    FROM unnest(%(skus)s::text[]) AS sku, generate_series(1, %(lines)s) AS rang
"""
_LOT_EVENTS = """
    INSERT INTO journal (id, type, version, sku, réf_lot, quantité, de, vers, data)
    SELECT gen_random_uuid(), 'LotCréé', 1, sku, 'lot-' || sku, %(plenty)s::int, 'hors_stock', 'libre',
           jsonb_build_object('réf_lot', 'lot-' || sku, 'sku', sku, 'quantité', %(plenty)s::int, 'eta', null)
    FROM unnest(%(skus)s::text[]) AS sku
"""
_LINE_EVENTS = """
    INSERT INTO journal (id, type, version, sku, réf_lot, id_commande, ligne, quantité, de, vers, data)
    SELECT gen_random_uuid(), 'Alloué', 1, sku, 'lot-' || sku, 'c-' || rang, '1', 1, 'libre', 'alloué',
           jsonb_build_object('id_commande', 'c-' || rang, 'sku', sku, 'quantité', 1,
                              'réf_lot', 'lot-' || sku, 'ligne', '1')
    FROM generate_series(1, %(lines)s) AS rang, unnest(%(skus)s::text[]) AS sku
"""
# What a table must have to be right, and what finds a row by its key, stays.
_STRIP = """
    DO $$
    DECLARE
        statement text;
    BEGIN
        FOR statement IN
            SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname)
            FROM pg_constraint
            WHERE connamespace = current_schema()::regnamespace AND contype IN ('f', 'u')
            ORDER BY contype -- foreign keys, then the unique keys that they refer to
        LOOP
            EXECUTE statement;
        END LOOP;
        FOR statement IN
            SELECT format('DROP INDEX %%s', indexrelid::regclass)
            FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE relnamespace = current_schema()::regnamespace AND NOT indisprimary
        LOOP
            EXECUTE statement;
        END LOOP;
    END $$
"""
_PRODUCT_BY_PRODUCT = (_PRODUCTS, _LOTS, _LINES, _ALLOCATIONS, _LOT_EVENTS, _LINE_EVENTS)


def open_shop(url: str, lines: int) -> None:
    """An empty database becomes a shop: a SKU with `lines` lines, one with ten, 200 with none."""
    with Database(url) as database:
        migrate(database)
        register(projection_followers(database))
        for skus, allocated in (([MANY], lines), ([FEW], FEW_LINES), (list(SPREAD), 0)):
            receive(url, skus, lines=allocated)
        for follower in projection_followers(database):
            rebuild(database, follower)
    execute(url, "VACUUM ANALYZE")


def strip(url: str) -> None:
    """Leave the tables of a shop without foreign keys, and without indexes but those of the primary keys."""
    execute(url, _STRIP)


def receive(url: str, skus: list[str], *, lines: int = 0) -> None:
    """Products with a lot of plenty each, of which `lines` orders have a unit; the views learn nothing."""
    parameters = {"skus": skus, "lines": lines, "plenty": PLENTY}
    execute(url, *_PRODUCT_BY_PRODUCT, **parameters)
