"""Where the program meets PostgreSQL, SMTP and its configuration."""
