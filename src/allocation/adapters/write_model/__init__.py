"""Loading and storing products, in one transaction with their events."""
