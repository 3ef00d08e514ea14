"""Allocation: ties every order line to one batch of stock, and lets everyone read the result fast."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("allocation")
