"""What the outside world may ask for. A command is checked when it is created, so every command is valid.

Its identifiers are normalised: their Unicode form, and blanks around them, make no difference.
"""

from dataclasses import dataclass
from datetime import date

from allocation.domain.values import QUANTITÉ_LOT_MIN, identifiant, vérifier_quantité

__all__ = ["Allouer", "Command", "CréerLot", "ModifierQuantitéLot"]


class Command:
    """An intention to change stock. Exactly one handler answers it."""

    __slots__ = ()

    def _normaliser(self, *champs: str) -> None:
        """Normalise each of these identifiers. Raises ValeurInvalide."""
        for champ in champs:
            donné = getattr(self, champ)
            if (normal := identifiant(champ, donné)) is not donné:
                object.__setattr__(self, champ, normal)


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
    """Set how many units a lot holds, perhaps none; lines that no longer fit are allocated elsewhere.

    `sku` may be left out if only one SKU has a lot of this reference. Identifiers that were stored before the
    present rule for them are given as `Enregistré`. `depuis_rang` continues a correction that was begun: it
    is the seniority from which on lines must leave the lot. Raises ValeurInvalide on a malformed value.
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
