"""Coroutines for two ways of waiting: on an event loop, or with the calling thread.

What is written as a coroutine does not say how its caller waits. On an event loop it is suspended; where all
that it awaits blocks instead, it never is, and `at_once` runs it to its end.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that is never suspended. Raises what it raises."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that must not be suspended was")
