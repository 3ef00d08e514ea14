"""What tests wait for on an event loop."""

import asyncio
import time
from collections.abc import Callable

import pytest
from tests.waiting import PATIENCE_S


async def next_turn() -> None:
    """Return once the loop has handled all that was due when this was called."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def happens(condition: Callable[[], object]) -> None:
    """Return once the condition is true. Fails the test if it is not in half a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen in time")
        await next_turn()
