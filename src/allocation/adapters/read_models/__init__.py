"""The tables of the read models, and the tables that replace them in rebuilds."""
