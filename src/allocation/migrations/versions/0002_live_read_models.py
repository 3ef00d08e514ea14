"""Read models that are rebuilt beside the serving one, readers that can park what they can't apply."""

from alembic import op

revision = "0002"
down_revision = "0001"

READERS = """
ALTER TABLE projections
    ADD en_pause boolean NOT NULL DEFAULT false,
    ADD appliqués bigint NOT NULL DEFAULT 0,
    ADD débit double precision NOT NULL DEFAULT 0,
    ADD version integer NOT NULL DEFAULT 1,
    ADD version_précédente integer,
    ADD position_précédente bigint;

ALTER TABLE subscriptions
    ADD en_pause boolean NOT NULL DEFAULT false,
    ADD appliqués bigint NOT NULL DEFAULT 0,
    ADD débit double precision NOT NULL DEFAULT 0;

CREATE TABLE parked (
    lecteur text NOT NULL,
    sku varchar(255) COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    erreur text NOT NULL,
    parqué_le timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parked_pkey PRIMARY KEY (lecteur, sku, position)
);
"""

# The tables under construction, and the ones that they replaced, have the names of those that serve.
REBUILDS = """
CREATE SCHEMA allocation_building;
CREATE SCHEMA allocation_previous;

CREATE TABLE rebuilds (
    name text PRIMARY KEY,
    version integer NOT NULL,
    source text NOT NULL,
    phase text NOT NULL,
    position bigint NOT NULL,
    jusqu_au_sku varchar(255) COLLATE "C",
    fait bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL,
    débit_max integer,
    pas_avant timestamptz NOT NULL DEFAULT now(),
    demandé_le timestamptz NOT NULL DEFAULT now(),
    mis_à_jour_le timestamptz NOT NULL DEFAULT now(),
    erreur text
);

CREATE TABLE rebuild_segments (
    name text NOT NULL,
    jusqu_au_sku varchar(255) COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT rebuild_segments_pkey PRIMARY KEY (name, jusqu_au_sku)
);
"""


def upgrade() -> None:
    """Create every table."""
    op.execute(READERS)
    op.execute(REBUILDS)
