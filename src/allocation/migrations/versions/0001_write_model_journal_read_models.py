"""The write model, the journal, the checkpoints, and the first read models."""

from alembic import op

revision = "0001"
down_revision = None

WRITE_MODEL = """
CREATE TABLE produits (
    sku varchar(255) COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    dernier_rang bigint NOT NULL
);

CREATE TABLE lots (
    sku varchar(255) COLLATE "C" NOT NULL CONSTRAINT lots_sku_fkey REFERENCES produits (sku),
    référence varchar(255) COLLATE "C" NOT NULL,
    quantité_initiale integer NOT NULL,
    quantité integer NOT NULL,
    quantité_allouée integer NOT NULL,
    eta date,
    CONSTRAINT lots_pkey PRIMARY KEY (sku, référence),
    CONSTRAINT lots_référence_key UNIQUE (référence),
    CONSTRAINT lots_quantité_check CHECK (quantité BETWEEN 1 AND 1000000000),
    CONSTRAINT lots_pas_de_survente_check CHECK (0 <= quantité_allouée AND quantité_allouée <= quantité)
);
CREATE INDEX lots_ouverts_idx ON lots (sku) WHERE quantité_allouée < quantité;

CREATE TABLE order_lines (
    sku varchar(255) COLLATE "C" NOT NULL CONSTRAINT order_lines_sku_fkey REFERENCES produits (sku),
    id_commande varchar(255) COLLATE "C" NOT NULL,
    ligne varchar(255) COLLATE "C" NOT NULL,
    quantité integer NOT NULL,
    rang bigint NOT NULL,
    CONSTRAINT order_lines_pkey PRIMARY KEY (id_commande, sku, ligne),
    CONSTRAINT order_lines_rang_sku_key UNIQUE (rang, sku),
    CONSTRAINT order_lines_quantité_check CHECK (quantité BETWEEN 1 AND 1000000000)
);

CREATE TABLE allocations (
    sku varchar(255) COLLATE "C" NOT NULL,
    rang bigint NOT NULL,
    réf_lot varchar(255) COLLATE "C" NOT NULL,
    CONSTRAINT allocations_pkey PRIMARY KEY (sku, rang),
    CONSTRAINT allocations_sku_rang_fkey FOREIGN KEY (sku, rang) REFERENCES order_lines (sku, rang),
    CONSTRAINT allocations_sku_réf_lot_fkey FOREIGN KEY (sku, réf_lot) REFERENCES lots (sku, référence)
);
CREATE INDEX allocations_du_lot_idx ON allocations (réf_lot, (- rang));
"""

JOURNAL_AND_ITS_READERS = """
CREATE TABLE journal (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL,
    type text NOT NULL,
    version smallint NOT NULL,
    sku varchar(255) COLLATE "C" NOT NULL,
    data jsonb NOT NULL,
    survenu_le timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE projections (
    name text PRIMARY KEY,
    position bigint NOT NULL,
    mis_à_jour_le timestamptz NOT NULL DEFAULT now(),
    erreur text
);

CREATE TABLE subscriptions (
    name text PRIMARY KEY,
    position bigint NOT NULL,
    mis_à_jour_le timestamptz NOT NULL DEFAULT now(),
    erreur text
);

CREATE TABLE notifications (
    clé text PRIMARY KEY,
    envoyée_le timestamptz NOT NULL
);
"""

READ_MODELS = """
CREATE TABLE allocations_view (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id_commande varchar(255) COLLATE "C" NOT NULL,
    sku varchar(255) COLLATE "C" NOT NULL,
    réf_lot varchar(255) COLLATE "C" NOT NULL,
    quantité integer NOT NULL,
    ligne varchar(255) COLLATE "C" NOT NULL,
    CONSTRAINT allocations_view_id_commande_sku_ligne_key UNIQUE (id_commande, sku, ligne)
);

CREATE TABLE lots_view (
    réf varchar(255) COLLATE "C" PRIMARY KEY,
    sku varchar(255) COLLATE "C" NOT NULL,
    quantité integer NOT NULL,
    quantité_allouée integer NOT NULL,
    eta date
);

CREATE TABLE stock_view (
    sku varchar(255) COLLATE "C" PRIMARY KEY,
    en_stock bigint NOT NULL,
    en_transit bigint NOT NULL,
    alloué bigint NOT NULL,
    disponible bigint NOT NULL,
    prochaine_eta date
);
"""


def upgrade() -> None:
    """Create every table."""
    op.execute(WRITE_MODEL)
    op.execute(JOURNAL_AND_ITS_READERS)
    op.execute(READ_MODELS)
