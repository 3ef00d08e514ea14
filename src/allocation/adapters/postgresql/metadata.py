"""The one catalogue of tables, which a test compares with the migrations."""

from sqlalchemy import MetaData, String

from allocation.domain.values import LONGUEUR_MAX

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# How identifiers are stored: compared code point by code point.
identifier = String(LONGUEUR_MAX, collation="C")
