"""Connections to PostgreSQL, and what they stand on: sessions, errors, rights, the schema."""
