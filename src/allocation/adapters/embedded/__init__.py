"""The embedded PostgreSQL: its programs, its data, its processes."""

from allocation.adapters.embedded.embedded_postgresql import EmbeddedPostgreSQL, embedded_postgresql
from allocation.adapters.embedded.postgresql_programs import EmbeddedServerTrouble

__all__ = [
    "EmbeddedPostgreSQL",
    "EmbeddedServerTrouble",
    "embedded_postgresql",
]
