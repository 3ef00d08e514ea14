"""The port of the repository, which loads and stores products, and of each no more than commands need."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self, TypeAlias

from allocation.domain.model import CléLigne, LigneDeCommande, Lot, Produit

# Its SKU and its reference.
CléLot: TypeAlias = tuple[str, str]


class Waiting(Enum):
    """How long a transaction waits for what others have locked."""

    BRIEFLY = auto()
    """As long as a transaction of another process may take, since everybody in this one waits meanwhile."""
    LONGER = auto()
    """As long as those of many other processes may take, or any of them where there is much to do."""
    NOT_AT_ALL = auto()
    """Products that are locked are left out; whatever else is locked is waited for briefly."""
    PATIENTLY = auto()
    """As long as the caller may be kept waiting, since nobody else is held up."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a command will ask the repository for, as far as that can be known before it runs.

    A line is named by its SKU and its key within the product; a lot by its SKU and its reference, or by the
    reference alone (`réfs_lots`).
    """

    skus: tuple[str, ...] = ()
    lignes: tuple[tuple[str, CléLigne], ...] = ()
    lots: tuple[CléLot, ...] = ()
    réfs_lots: tuple[str, ...] = ()

    @classmethod
    def of_lot(cls, réf_lot: str, sku: str | None) -> Self:
        """What a command about one lot needs, if it names the SKU or leaves it out."""
        return cls(réfs_lots=(réf_lot,)) if sku is None else cls(skus=(sku,), lots=((sku, réf_lot),))


def handed_out(produit: Produit, réf_lot: str) -> Lot:
    """The product's lot of this reference. Raises LookupError if nobody has asked for it."""
    lot = produit.lot(réf_lot)
    if lot is None:
        raise LookupError(f"lot {réf_lot} of {produit.sku} was not asked for")
    return lot


class AbstractRepository(ABC):
    """Port: the products that one unit of work has loaded or added.

    `known` are all of them, by SKU; `seen` are those that were handed out since it was last emptied.
    """

    def __init__(self) -> None:
        self.known: dict[str, Produit] = {}
        self.seen: dict[str, Produit] = {}

    @abstractmethod
    def prepare(self, needs: Sequence[Needs], waiting: Waiting) -> None:
        """Load all that will be asked for together, which is cheaper, and lock the products in one order.

        If locked products are not waited for, asking for one later raises Locked.
        """

    @abstractmethod
    def add(self, produit: Produit) -> None:
        """Store a new product with the transaction."""

    @abstractmethod
    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        """The product, with what is known of `lignes` and the lots that they may get; None if unknown.

        For each line, that holds until another one is allocated. Nothing else is sure to be loaded: a lot or
        line that exists without being loaded can be added again, and the commit then raises VersionConflict.
        """

    @abstractmethod
    def get_par_réf_lot(self, réf_lot: str, sku: str | None = None) -> Produit | None:
        """The product of this lot, with the lot, even if nothing is left in it; None if the lot is unknown.

        Raises RéférenceAmbiguë if no SKU is given and several have such a lot.
        """

    @abstractmethod
    def load_surplus(
        self, produit: Produit, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, limit: int
    ) -> int | None:
        """Load the lines that must leave a lot that was handed out: the oldest of them, at most `limit`.

        Returns the seniority from which on lines go: `depuis_rang` if given, otherwise what
        `Produit.rang_limite` finds, which is None if the lot's lines fit into `quantité` units. Raises
        LookupError for a lot that nobody has asked for.
        """
