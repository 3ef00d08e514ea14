"""The journal becomes a ledger: columns say what each event moves, and for which line of an order."""

from alembic import op

revision = "0007"
down_revision = "0006"

COLUMNS = """
ALTER TABLE journal
    ADD réf_lot varchar(255) COLLATE "C",
    ADD id_commande varchar(255) COLLATE "C",
    ADD ligne varchar(255) COLLATE "C",
    ADD quantité integer,
    ADD de text,
    ADD vers text;
"""

# The columns of an event that has none yet, from its fields: so versions up to 0.2.0 have written it.
COMPLETED = """
CREATE FUNCTION journal_completed(event journal) RETURNS journal LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    units integer := (event.data ->> 'quantité')::integer;
BEGIN
    IF event.quantité IS NOT NULL THEN
        RETURN event;
    END IF;
    CASE event.type
        WHEN 'LotCréé' THEN
            event.de := 'hors_stock'; event.vers := 'libre';
        WHEN 'QuantitéLotModifiée' THEN
            units := units - (event.data ->> 'quantité_précédente')::integer;
            event.de := CASE WHEN units < 0 THEN 'libre' ELSE 'hors_stock' END;
            event.vers := CASE WHEN units < 0 THEN 'hors_stock' ELSE 'libre' END;
        WHEN 'Alloué' THEN
            event.de := 'libre'; event.vers := 'alloué';
        WHEN 'Désalloué' THEN
            event.de := 'alloué'; event.vers := 'libre';
        WHEN 'RuptureDeStock' THEN
            NULL;
        ELSE
            RETURN event;
    END CASE;
    event.quantité := abs(units);
    event.réf_lot := event.data ->> 'réf_lot';
    event.id_commande := event.data ->> 'id_commande';
    event.ligne := event.data ->> 'ligne';
    RETURN event;
END $$;
"""

# The table is written anew once. An UPDATE takes longer, and leaves every row in it twice.
FILL = """
ALTER TABLE journal
    ALTER réf_lot TYPE varchar(255) COLLATE "C" USING (journal_completed(journal)).réf_lot,
    ALTER id_commande TYPE varchar(255) COLLATE "C" USING (journal_completed(journal)).id_commande,
    ALTER ligne TYPE varchar(255) COLLATE "C" USING (journal_completed(journal)).ligne,
    ALTER quantité TYPE integer USING (journal_completed(journal)).quantité,
    ALTER de TYPE text USING (journal_completed(journal)).de,
    ALTER vers TYPE text USING (journal_completed(journal)).vers;
CREATE INDEX journal_id_commande_idx ON journal (id_commande, position) WHERE id_commande IS NOT NULL;
CREATE INDEX journal_réf_lot_idx ON journal (réf_lot, position) WHERE id_commande IS NULL;
"""

# A program of version 0.2.0 may go on appending while machines are replaced one by one.
TRIGGER = """
CREATE FUNCTION journal_complete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN journal_completed(NEW);
END $$;
CREATE TRIGGER journal_complete BEFORE INSERT ON journal
    FOR EACH ROW WHEN (NEW.quantité IS NULL) EXECUTE FUNCTION journal_complete();
"""

# No compartment of a lot is ever below zero: neither what is allocated of it, nor what is free.
LOTS = """
ALTER TABLE lots
    DROP CONSTRAINT lots_pas_de_survente_check,
    ADD CONSTRAINT lots_alloué_check CHECK (quantité_allouée >= 0),
    ADD CONSTRAINT lots_libre_check CHECK (quantité - quantité_allouée >= 0);
"""


def upgrade() -> None:
    """Widen the journal, fill and index its new columns, and let older programs fill them, too."""
    op.execute(COLUMNS)
    op.execute(COMPLETED)
    op.execute(FILL)
    op.execute(TRIGGER)
    op.execute(LOTS)
