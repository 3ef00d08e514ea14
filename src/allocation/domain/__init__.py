"""The business: products, lots, order lines, and the rules that hold between them. Pure Python."""
