"""Open lots in their order and by what is left in them; lots that hold nothing; refusals remembered."""

from alembic import op

revision = "0006"
down_revision = "0005"

LOTS = """
ALTER TABLE lots
    DROP CONSTRAINT lots_quantité_check,
    ADD CONSTRAINT lots_quantité_check CHECK (quantité BETWEEN 0 AND 1000000000);
CREATE INDEX lots_dans_l_ordre_idx ON lots (sku, coalesce(eta, '-infinity'), référence)
    WHERE quantité_allouée < quantité;
CREATE INDEX lots_par_disponible_idx ON lots (sku, (quantité - quantité_allouée))
    WHERE quantité_allouée < quantité;
DROP INDEX lots_ouverts_idx;
"""

RUPTURES = """
ALTER TABLE produits ADD dernier_apport bigint;
CREATE TABLE ruptures (
    sku varchar(255) COLLATE "C" NOT NULL CONSTRAINT ruptures_sku_fkey REFERENCES produits (sku),
    id_commande varchar(255) COLLATE "C" NOT NULL,
    ligne varchar(255) COLLATE "C" NOT NULL,
    quantité integer NOT NULL,
    quantité_disponible integer NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT ruptures_pkey PRIMARY KEY (id_commande, sku, ligne)
);
"""

# An arrival is found by its day, as long as it has something left.
ARRIVALS = """
CREATE INDEX lots_view_arrivées_idx ON lots_view (sku, eta)
    WHERE eta IS NOT NULL AND quantité_allouée < quantité;
"""


def upgrade() -> None:
    """Widen what a lot may hold, index open lots and arrivals, and create the memory of refusals."""
    op.execute(LOTS)
    op.execute(RUPTURES)
    op.execute(ARRIVALS)
