"""Lots are known by their SKU and their reference, and used in the order of their receipt."""

from alembic import op

revision = "0008"
down_revision = "0007"

LOTS = """
ALTER TABLE lots DROP CONSTRAINT lots_référence_key, ADD rang bigint;
CREATE INDEX lots_référence_idx ON lots (référence, sku);
"""

# In the order in which the journal tells of their receipt; what it has handed over to its archive came before
# that, in the order that was in use. A product's version is at least the number of its lots: the next ones,
# which get its version, come after these.
RECEIVED = """
UPDATE lots SET rang = received.rang
FROM (
    SELECT lots.sku, référence,
           row_number() OVER (PARTITION BY lots.sku ORDER BY position NULLS FIRST, référence) AS rang
    FROM lots LEFT JOIN journal
         ON type = 'LotCréé' AND journal.sku = lots.sku AND réf_lot = lots.référence
) AS received
WHERE lots.sku = received.sku AND lots.référence = received.référence;
ALTER TABLE lots ALTER rang SET NOT NULL;
"""

# Version 0.2.0 does not know the column, and goes on receiving lots while machines are replaced one by one:
# the product is written before its lots.
RECEIVED_BY_0_2_0 = """
CREATE FUNCTION lots_rang() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.rang := (SELECT version FROM produits WHERE produits.sku = NEW.sku);
    RETURN NEW;
END $$;
CREATE TRIGGER lots_rang BEFORE INSERT ON lots
    FOR EACH ROW WHEN (NEW.rang IS NULL) EXECUTE FUNCTION lots_rang();
"""

# `lots_dans_l_ordre_idx` has the order that version 0.2.0 asks for.
ORDER = """
CREATE INDEX lots_par_rang_idx ON lots (sku, coalesce(eta, '-infinity'), rang, référence)
    WHERE quantité_allouée < quantité;
DROP INDEX allocations_du_lot_idx;
CREATE INDEX allocations_du_lot_idx ON allocations (réf_lot, sku, (- rang));
"""

JOURNAL = """
DROP INDEX journal_réf_lot_idx;
CREATE INDEX journal_réf_lot_idx ON journal (réf_lot, sku, position) WHERE id_commande IS NULL;
"""

# Where the view serves already, it is rebuilt with its new key, beside the one that version 0.2.0 can write.
READ_MODEL = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM projections WHERE name = 'lots_view') THEN
        ALTER TABLE lots_view
            DROP CONSTRAINT lots_view_pkey,
            ADD CONSTRAINT lots_view_pkey PRIMARY KEY (réf, sku);
    END IF;
END $$;
"""


def upgrade() -> None:
    """Let several products use one reference, number the lots of each, and find both by index."""
    op.execute(LOTS)
    op.execute(RECEIVED)
    op.execute(RECEIVED_BY_0_2_0)
    op.execute(ORDER)
    op.execute(JOURNAL)
    op.execute(READ_MODEL)
