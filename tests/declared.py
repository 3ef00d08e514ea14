"""The types that the program declares, wherever they stand in it."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from typing import TypeVar

import allocation

T = TypeVar("T")


def declared_below(base: type[T]) -> set[type[T]]:
    """All types of the program that derive from this one, at whatever distance."""
    for module in pkgutil.walk_packages(allocation.__path__, "allocation."):
        if not module.name.startswith("allocation.migrations."):
            importlib.import_module(module.name)
    return {each for each in _below(base) if _is_declared(each)}


def _is_declared(each: type) -> bool:
    """Whether its module knows it: not so the class that a dataclass with slots was made of."""
    in_program = each.__module__.partition(".")[0] == "allocation"
    return in_program and getattr(sys.modules[each.__module__], each.__name__, None) is each


def _below(base: type[T]) -> Iterator[type[T]]:
    for each in type.__subclasses__(base):
        yield each
        yield from _below(each)
