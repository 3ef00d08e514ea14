"""The PostgreSQL that comes along: its programs, its data, its processes."""
