"""The tables: products to lock, lots, the lines that were allocated, and a journal."""

from benchmarks.laboratory import execute
from benchmarks.shop import PLENTY

_TABLES = """
    CREATE TABLE produits (sku text PRIMARY KEY);
    CREATE TABLE lots (
        sku text NOT NULL REFERENCES produits,
        référence text NOT NULL,
        quantité integer NOT NULL,
        quantité_allouée integer NOT NULL DEFAULT 0,
        eta date,
        PRIMARY KEY (sku, référence),
        CHECK (quantité_allouée BETWEEN 0 AND quantité)
    );
    CREATE TABLE allocations (
        id_commande text NOT NULL,
        sku text NOT NULL,
        quantité integer NOT NULL CHECK (quantité > 0),
        réf_lot text NOT NULL,
        PRIMARY KEY (id_commande, sku),
        FOREIGN KEY (sku, réf_lot) REFERENCES lots
    );
    CREATE TABLE journal (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        type text NOT NULL,
        sku text NOT NULL,
        data jsonb NOT NULL,
        survenu_le timestamptz NOT NULL DEFAULT clock_timestamp()
    );
"""
_PRODUCTS = "INSERT INTO produits SELECT unnest(%(skus)s::text[])"
_LOTS = """
    INSERT INTO lots (sku, référence, quantité, quantité_allouée)
    SELECT sku, 'lot-' || sku, %(plenty)s, %(lines)s FROM unnest(%(skus)s::text[]) AS sku
"""
_LINES = """
    INSERT INTO allocations (id_commande, sku, quantité, réf_lot)
    SELECT 'c-' || n, sku, 1, 'lot-' || sku
    FROM unnest(%(skus)s::text[]) AS sku, generate_series(1, %(lines)s) AS n
"""
_EVENTS = """
    INSERT INTO journal (type, sku, data)
    SELECT 'Alloué', sku,
           jsonb_build_object('id_commande', id_commande, 'quantité', quantité, 'réf_lot', réf_lot)
    FROM allocations WHERE sku = ANY(%(skus)s::text[])
"""


def create_tables(url: str) -> None:
    """Make the tables in an empty database."""
    execute(url, *_TABLES.split(";")[:-1])


def receive(url: str, skus: list[str], *, lines: int = 0) -> None:
    """Products with a lot of plenty each, of which the orders `c-1` to `c-<lines>` have a unit."""
    execute(url, _PRODUCTS, _LOTS, _LINES, _EVENTS, skus=skus, lines=lines, plenty=PLENTY)
