"""The tables of the read models, and those that take their place."""
