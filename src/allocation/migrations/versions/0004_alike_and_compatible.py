"""Databases made by former forms of 0001 and 0002 become like all others; which programs a schema suits."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Programs whose newest migration is `oldest_program`, or a later one, can work on this schema. A migration
# that takes away what older programs use raises it; the others leave it alone.
COMPATIBILITY = """
CREATE TABLE schema_compatibility (
    single boolean DEFAULT true CONSTRAINT schema_compatibility_pkey PRIMARY KEY,
    oldest_program text NOT NULL,
    CONSTRAINT schema_compatibility_single_check CHECK (single)
);
INSERT INTO schema_compatibility (oldest_program) VALUES ('0004');
"""

# 0001 was edited after it had landed: its keys and its index began with the SKU.
WRITE_MODEL = """
DO $$ BEGIN
    IF to_regclass('order_lines_sku_rang_key') IS NOT NULL THEN
        ALTER TABLE order_lines
            DROP CONSTRAINT order_lines_pkey,
            ADD CONSTRAINT order_lines_pkey PRIMARY KEY (id_commande, sku, ligne),
            ADD CONSTRAINT order_lines_rang_sku_key UNIQUE (rang, sku);
        ALTER TABLE allocations DROP CONSTRAINT allocations_sku_rang_fkey;
        ALTER TABLE order_lines DROP CONSTRAINT order_lines_sku_rang_key;
        ALTER TABLE allocations ADD CONSTRAINT allocations_sku_rang_fkey
            FOREIGN KEY (sku, rang) REFERENCES order_lines (sku, rang);
        DROP INDEX allocations_du_lot_idx;
        CREATE INDEX allocations_du_lot_idx ON allocations (réf_lot, (- rang));
    END IF;
END $$;
"""

# So was 0002, which lacked this column.
REBUILDS = "ALTER TABLE rebuilds ADD COLUMN IF NOT EXISTS pas_avant timestamptz NOT NULL DEFAULT now();"


def upgrade() -> None:
    """Mend what former forms made, and say which programs may work on the schema."""
    op.execute(WRITE_MODEL)
    op.execute(REBUILDS)
    op.execute(COMPATIBILITY)
