"""Which SKUs have a lot of a reference that was given without its SKU, as far as one transaction knows."""

from collections.abc import Iterable, Sequence, Set
from itertools import chain

from allocation.adapters.postgresql.messages import Messages, Rows, Statement
from allocation.domain.errors import RéférenceAmbiguë

# For each reference, no more SKUs than a refusal names.
_SKUS_OF_LOTS = f"""
    SELECT lot.référence, lot.sku FROM unnest(%s::text[]) AS asked (référence)
    CROSS JOIN LATERAL (
        SELECT référence, sku FROM lots AS l
        WHERE l.référence = asked.référence ORDER BY sku LIMIT {RéférenceAmbiguë.SKUS_MAX}
    ) AS lot
"""  # noqa: S608 - our own number


class LotReferences:
    """The SKUs of references: looked up before their products are locked, and once more under the lock."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._skus: dict[str, set[str]] = {}

    def skus(self, référence: str) -> Set[str]:
        """The SKUs that have a lot of this reference, which must have been looked up."""
        return self._skus[référence]

    def find(self, références: Set[str]) -> None:
        """Look these references up, unless that was done before."""
        if new := références - self._skus.keys():
            self.note(new, self._messages.send(*self.questions(new)))

    def questions(self, références: Set[str]) -> Sequence[Statement]:
        """The statement that looks these references up, if there are any; give its answer to `note`."""
        return [(_SKUS_OF_LOTS, (sorted(références),))] if références else []

    def note(self, références: Set[str], answers: Iterable[Rows]) -> Set[str]:
        """Note which SKUs these references have; return those references for which that is news."""
        found: dict[str, set[str]] = {référence: set() for référence in références}
        for référence, sku in chain.from_iterable(answers):
            found[référence].add(sku)
        changed = {référence for référence, skus in found.items() if self._skus.get(référence) != skus}
        self._skus |= found
        return changed
