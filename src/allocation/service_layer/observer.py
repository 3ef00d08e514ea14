"""Port: whoever wants to know how the group commit is doing, such as metrics."""

import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Is told what the writers do, for metrics."""

    def batch_answered(self, size: int, waited_s: float, transaction_s: float) -> None:
        """`size` commands shared a transaction, before which the first of them had waited `waited_s`."""

    def transaction_retried(self) -> None:
        """A transaction failed and is retried unchanged."""

    def batch_split(self) -> None:
        """A transaction failed and its commands are tried one by one."""


def tell(observer: Observer | None, news: Callable[[Observer], None]) -> None:
    """Tell the observer, if there is one; its failures must not affect the commands."""
    if observer is None:
        return
    try:
        news(observer)
    except Exception:
        logger.exception("the observer of the group commit failed")
