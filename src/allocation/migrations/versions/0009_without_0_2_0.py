"""What only version 0.2.0 needed goes: its indexes, and the triggers that fill in what it leaves out."""

from alembic import op

revision = "0009"
down_revision = "0008"

# `journal_completed` stays: it reads the archives that version 0.2.0 has written.
TRIGGERS = """
DROP TRIGGER journal_complete ON journal;
DROP FUNCTION journal_complete();
DROP TRIGGER lots_rang ON lots;
DROP FUNCTION lots_rang();
"""

INDEXES = """
DROP INDEX journal_commande_idx;
DROP INDEX journal_lot_idx;
DROP INDEX lots_dans_l_ordre_idx;
"""

# Version 0.3.0, which uses none of it, was written for schema 0008.
COMPATIBILITY = "UPDATE schema_compatibility SET oldest_program = '0008';"


def upgrade() -> None:
    """Drop the triggers and indexes, and refuse the programs that need them."""
    op.execute(TRIGGERS)
    op.execute(INDEXES)
    op.execute(COMPATIBILITY)
