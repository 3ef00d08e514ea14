"""Allocation ties each order line to a batch of stock, and serves fast reads of the result."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("allocation")
