"""The program's connections to the outside: PostgreSQL, mail, message brokers, configuration."""

from allocation.adapters.configuration import Settings
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.database_errors import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
)
from allocation.adapters.postgresql.rights import RightMissing
from allocation.adapters.postgresql.schema import SchemaTooNew, migrate
from allocation.adapters.postgresql.sessions import UnsuitableServer

__all__ = [
    "Database",
    "Locked",
    "OutcomeUnknown",
    "RightMissing",
    "SchemaTooNew",
    "Settings",
    "StorageUnavailable",
    "UnsuitableServer",
    "ValueRefused",
    "VersionConflict",
    "migrate",
]
