"""How much the group commit takes on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How many commands may wait and how long; how many share a transaction, and how long it may run them.

    Up to `apart` keys may have a writer of their own, each with its own connection; leave one for the rest.
    While more than a batch waits, no caller is let in who would wait for the answer for more than about
    `crowded_s`: with more to do than can be done, what is accepted is answered soon.
    """

    waiting: int = 1000
    waiting_s: float = 10.0
    batch: int = 256
    batch_s: float = 0.1
    apart: int = 4
    crowded_s: float = 0.5


DEFAULT_LIMITS = Limits()
