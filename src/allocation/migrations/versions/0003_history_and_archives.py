"""By which command each event came, histories by index, and the register of what left the journal."""

from alembic import op

revision = "0003"
down_revision = "0002"

JOURNAL = """
ALTER TABLE journal ADD commande text, ADD cause uuid;
CREATE INDEX journal_sku_idx ON journal (sku, position);
CREATE INDEX journal_commande_idx ON journal ((data ->> 'id_commande'), position)
    WHERE data ? 'id_commande';
CREATE INDEX journal_lot_idx ON journal ((data ->> 'réf_lot'), position)
    WHERE type IN ('LotCréé', 'QuantitéLotModifiée');
CREATE INDEX lots_view_sku_idx ON lots_view (sku);
"""

ARCHIVES = """
CREATE TABLE journal_archives (
    dernière_position bigint PRIMARY KEY,
    première_position bigint NOT NULL,
    dernier_survenu_le timestamptz NOT NULL,
    événements bigint NOT NULL,
    chemin text NOT NULL,
    sha256 text NOT NULL,
    archivé_le timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE journal_snapshots (
    position bigint PRIMARY KEY,
    événements bigint NOT NULL,
    chemin text NOT NULL,
    sha256 text NOT NULL,
    pris_le timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Widen the journal, index it, and create the registers."""
    op.execute(JOURNAL)
    op.execute(ARCHIVES)
