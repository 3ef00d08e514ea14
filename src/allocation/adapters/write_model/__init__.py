"""Products in and out of their tables, in one transaction with their events."""
