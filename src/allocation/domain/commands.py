"""What the outside world may ask for. A command is checked when it is made: one that exists is sound.

Its identifiers are those that are meant, whatever the Unicode form and the blanks around them that came in.
"""

from dataclasses import dataclass
from datetime import date

from allocation.domain.values import QUANTITÉ_LOT_MIN, identifiant, vérifier_quantité

__all__ = ["Allouer", "Command", "CréerLot", "ModifierQuantitéLot"]


class Command:
    """An intention to change stock. Exactly one handler answers it."""

    __slots__ = ()

    def _normaliser(self, *champs: str) -> None:
        """Set each of these identifiers to the one that is meant. Raises ValeurInvalide."""
        for champ in champs:
            donné = getattr(self, champ)
            if (voulu := identifiant(champ, donné)) is not donné:
                object.__setattr__(self, champ, voulu)


@dataclass(frozen=True, slots=True)
class CréerLot(Command):
    """Receive a lot of `quantité` units: in the warehouse now (`eta` None), or arriving on `eta`.

    Raises ValeurInvalide on a malformed value.
    """

    réf: str
    sku: str
    quantité: int
    eta: date | None = None

    def __post_init__(self) -> None:
        self._normaliser("réf", "sku")
        vérifier_quantité("quantité", self.quantité)


@dataclass(frozen=True, slots=True)
class Allouer(Command):
    """Tie one order line of `quantité` units to a lot; `ligne` tells lines of one SKU in one order apart.

    Raises ValeurInvalide on a malformed value.
    """

    id_commande: str
    sku: str
    quantité: int
    ligne: str = "1"

    def __post_init__(self) -> None:
        self._normaliser("id_commande", "sku", "ligne")
        vérifier_quantité("quantité", self.quantité)


@dataclass(frozen=True, slots=True)
class ModifierQuantitéLot(Command):
    """Set the units that a lot holds, perhaps none; lines that no longer fit are allocated elsewhere.

    `sku` may be left out where the lots of no other SKU have this reference. Identifiers older than the rule
    for them are given as `Enregistré`. A correction that was begun goes on from the seniority `depuis_rang`.
    Raises ValeurInvalide on a malformed value.
    """

    réf: str
    quantité: int
    sku: str | None = None
    depuis_rang: int | None = None

    def __post_init__(self) -> None:
        self._normaliser("réf")
        if self.sku is not None:
            self._normaliser("sku")
        vérifier_quantité("quantité", self.quantité, au_moins=QUANTITÉ_LOT_MIN)
