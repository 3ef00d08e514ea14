"""The embedded PostgreSQL: its programs, its data, its processes."""
