"""Of which SKUs there are lots with a reference that is given alone, as far as one transaction knows."""

from collections.abc import Iterable, Sequence, Set
from itertools import chain

from allocation.adapters.postgresql.messages import Messages, Rows, Statement
from allocation.domain.errors import RéférenceAmbiguë

# Of each reference, no more SKUs than a refusal names.
_SKUS_OF_LOTS = f"""
    SELECT lot.référence, lot.sku FROM unnest(%s::text[]) AS asked (référence)
    CROSS JOIN LATERAL (
        SELECT référence, sku FROM lots AS l
        WHERE l.référence = asked.référence ORDER BY sku LIMIT {RéférenceAmbiguë.SKUS_MAX}
    ) AS lot
"""  # noqa: S608 - our own number


class LotReferences:
    """The SKUs of references: looked for before their products are locked, and once more with the lock."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._skus: dict[str, set[str]] = {}

    def skus(self, référence: str) -> Set[str]:
        """The SKUs that have a lot of this reference, which was looked for."""
        return self._skus[référence]

    def find(self, références: Set[str]) -> None:
        """Look for these references, unless that was done."""
        if new := références - self._skus.keys():
            self.note(new, self._messages.send(*self.questions(new)))

    def questions(self, références: Set[str]) -> Sequence[Statement]:
        """What looks for these references, and whose answers are to be noted: one statement, if any."""
        return [(_SKUS_OF_LOTS, (sorted(références),))] if références else []

    def note(self, références: Set[str], answers: Iterable[Rows]) -> Set[str]:
        """Note what was found of these references; those of which that was not known."""
        found: dict[str, set[str]] = {référence: set() for référence in références}
        for référence, sku in chain.from_iterable(answers):
            found[référence].add(sku)
        changed = {référence for référence, skus in found.items() if self._skus.get(référence) != skus}
        self._skus |= found
        return changed
