"""Connections to PostgreSQL and what they rest on: sessions, errors, rights, the schema."""
