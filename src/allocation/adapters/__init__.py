"""The program's connections to the outside: PostgreSQL, mail, message brokers, configuration."""
