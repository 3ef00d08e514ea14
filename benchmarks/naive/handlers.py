"""One function for each thing that may be asked for, and for what follows from it."""

import logging

from sqlalchemy import text

from benchmarks.naive.commands import Allouer, CréerLot
from benchmarks.naive.events import Alloué, RuptureDeStock
from benchmarks.naive.model import LigneDeCommande, Lot, Produit
from benchmarks.naive.unit_of_work import SqlAlchemyUnitOfWork

logger = logging.getLogger(__name__)


class SkuInconnu(Exception):
    """No lot has this SKU."""


def ajouter_lot(command: CréerLot, uow: SqlAlchemyUnitOfWork) -> None:
    """Receive a lot."""
    with uow:
        produit = uow.produits.get(command.sku)
        if produit is None:
            produit = Produit(command.sku)
            uow.produits.add(produit)
        produit.lots.append(Lot(command.réf, command.sku, command.quantité))
        uow.commit()


def allouer(command: Allouer, uow: SqlAlchemyUnitOfWork) -> None:
    """Tie a line to a lot. Raises SkuInconnu."""
    ligne = LigneDeCommande(command.id_commande, command.sku, command.quantité)
    with uow:
        produit = uow.produits.get(command.sku)
        if produit is None:
            raise SkuInconnu(command.sku)
        produit.allouer(ligne)
        uow.commit()


def ajouter_allocation_vue(event: Alloué, uow: SqlAlchemyUnitOfWork) -> None:
    """Let the read model know, in a transaction of its own."""
    with uow:
        uow.session.execute(
            text(
                "INSERT INTO allocations_view (id_commande, sku, réf_lot)"
                " VALUES (:id_commande, :sku, :réf_lot)"
            ),
            {"id_commande": event.id_commande, "sku": event.sku, "réf_lot": event.réf_lot},
        )
        uow.commit()


def signaler_rupture_stock(event: RuptureDeStock, _: SqlAlchemyUnitOfWork) -> None:
    """Tell those who buy stock."""
    logger.warning("rupture de stock : %s", event.sku)
