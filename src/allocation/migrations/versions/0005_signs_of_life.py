"""How often a reader has failed, by when it is expected back, and until when it keeps what it sends."""

from alembic import op

revision = "0005"
down_revision = "0004"

READERS = """
ALTER TABLE projections ADD échecs integer NOT NULL DEFAULT 0, ADD attendu_avant timestamptz;
ALTER TABLE subscriptions ADD échecs integer NOT NULL DEFAULT 0, ADD attendu_avant timestamptz,
    ADD réservé_jusqu_au timestamptz;
"""


def upgrade() -> None:
    """Widen the readers' rows."""
    op.execute(READERS)
