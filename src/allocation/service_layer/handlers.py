"""One function for each use case: what a command does, and what follows from an event.

A declaration above each handler says what its command needs, or how events reach it. Which events an event
handler gets stands in `bootstrap.EVENT_HANDLERS`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter

from sqlalchemy import Connection

from allocation.adapters import notifications as sent_notifications
from allocation.adapters.brokers.postgresql import publish
from allocation.adapters.journal.rows import RecordedEvent
from allocation.adapters.notifications import AbstractNotifications
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.repository import Needs
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import LotInconnu, SkuInconnu
from allocation.domain.events import Alloué, Désalloué, RuptureDeStock
from allocation.domain.model import LigneDeCommande, Lot, Plan, Produit
from allocation.domain.values import Enregistré
from allocation.projections.allocations_view import ajouter_allocation_vue, supprimer_allocation_vue
from allocation.projections.delivery import REACTION, Subscription, delivered
from allocation.service_layer.results import Réallocation, Unfinished
from allocation.service_layer.stock_outs import notification_of
from allocation.service_layer.unit_of_work import AbstractUnitOfWork
from allocation.service_layer.use_cases import use_case

__all__ = [
    "ajouter_allocation_vue",
    "ajouter_lot",
    "allouer",
    "envoyer_notification_rupture_stock",
    "modifier_quantité_lot",
    "publier_événement_allocation",
    "réallouer",
    "supprimer_allocation_vue",
]

ALLOCATIONS_CHANNEL = "allocation_alloué"
# Others wait while a transaction takes lines off a lot; with at most this many at once, they don't wait long.
LIGNES_PAR_ÉTAPE = 200
NOTIFICATION_INTERVAL = timedelta(hours=1)

ALLOCATIONS_PUBLICATION = Subscription("publication_allocations", batch=1000)
STOCK_OUT_NOTIFICATION = Subscription("notification_rupture_stock", batch=5000, outside=True, quiet_s=2.0)


@use_case(
    CréerLot,
    key=lambda command: command.sku,
    needs=lambda command: Needs.of_lot(command.réf, command.sku),
    first_position=lambda command, journal: journal.of_receipt(command.réf, command.sku),
)
def ajouter_lot(command: CréerLot, uow: AbstractUnitOfWork) -> str:
    """Receive a lot; return its reference. Raises LotExistant; emits LotCréé."""
    with uow:
        produit = uow.produits.get_par_réf_lot(command.réf, command.sku) or uow.produits.get(command.sku)
        if produit is None:
            produit = Produit(command.sku)
            uow.produits.add(produit)
        produit.ajouter_lot(Lot(command.réf, command.sku, command.quantité, command.eta))
        uow.commit()
    return command.réf


@use_case(
    Allouer,
    key=lambda command: command.sku,
    needs=lambda command: Needs(
        skus=(command.sku,), lignes=((command.sku, (command.id_commande, command.ligne)),)
    ),
    first_position=lambda command, journal: journal.of_allocation(
        command.sku, (command.id_commande, command.ligne)
    ),
)
def allouer(command: Allouer, uow: AbstractUnitOfWork) -> str | None:
    """Tie a line to a lot; return the lot's reference.

    Raises SkuInconnu or LigneModifiée; if no lot can take the line, raises StockInsuffisant after the commit.
    Emits Alloué or RuptureDeStock.
    """
    ligne = LigneDeCommande(command.id_commande, command.sku, command.quantité, command.ligne)
    plan = _allouer(ligne, uow)
    if (refus := plan.refus) is not None:
        raise refus
    return plan.réf_lot


def _allouer(ligne: LigneDeCommande, uow: AbstractUnitOfWork) -> Plan:
    with uow:
        produit = uow.produits.get(ligne.sku, ligne)
        if produit is None:
            raise SkuInconnu(ligne.sku)
        plan = produit.planifier(ligne)
        produit.appliquer(plan)
        uow.commit()
    return plan


@use_case(
    ModifierQuantitéLot,
    key=lambda command: command.sku or command.réf,
    needs=lambda command: Needs.of_lot(command.réf, command.sku),
    first_position=lambda command, journal: journal.of_correction(command.réf, command.sku),
)
def modifier_quantité_lot(
    command: ModifierQuantitéLot, uow: AbstractUnitOfWork
) -> list[LigneDeCommande] | Unfinished:
    """Correct how many units a lot holds; return the lines that it had to give up, oldest first.

    At most LIGNES_PAR_ÉTAPE lines go at once. The others follow in further transactions, so that nobody waits
    long for another product. Raises LotInconnu or RéférenceAmbiguë; emits Désalloué for each of these lines,
    and QuantitéLotModifiée.
    """
    réf, quantité = command.réf, command.quantité
    with uow:
        produit = uow.produits.get_par_réf_lot(réf, command.sku)
        if produit is None:
            raise LotInconnu(réf)
        depuis_rang = uow.produits.load_surplus(
            produit, réf, quantité, depuis_rang=command.depuis_rang, limit=LIGNES_PAR_ÉTAPE + 1
        )
        retirées = produit.modifier_quantité_lot(
            réf, quantité, depuis_rang=depuis_rang, au_plus=LIGNES_PAR_ÉTAPE
        )
        uow.commit()
    lot = produit.lot(réf)
    if lot is None or lot.quantité == quantité:
        return retirées
    # With fewer lines left than one step takes, others have come to the lot since the limit was found: the
    # next step has to find it anew.
    encore = depuis_rang if len(retirées) == LIGNES_PAR_ÉTAPE else None
    # The next step names the SKU, as another one may have a lot of this reference by then.
    return Unfinished(retirées, replace(command, sku=Enregistré(produit.sku), depuis_rang=encore))


@delivered(by=REACTION)
def réallouer(event: Désalloué, uow: AbstractUnitOfWork) -> Réallocation:
    """Find another lot for a line that lost its own; return what it got. Emits Alloué or RuptureDeStock."""
    ligne = LigneDeCommande(event.id_commande, event.sku, event.quantité, event.ligne)
    return Réallocation(ligne, _allouer(ligne, uow).réf_lot)


@delivered(by=ALLOCATIONS_PUBLICATION)
def publier_événement_allocation(batch: Sequence[RecordedEvent[Alloué]], connection: Connection) -> None:
    """Tell other programs, which `LISTEN allocation_alloué` on the same database."""
    publish(connection, ALLOCATIONS_CHANNEL, batch)


@delivered(by=STOCK_OUT_NOTIFICATION)
def envoyer_notification_rupture_stock(
    batch: Sequence[RecordedEvent[RuptureDeStock]],
    database: Database,
    notifications: AbstractNotifications,
) -> None:
    """Tell the people who buy stock: all SKUs in one message, and each SKU at most once an hour.

    Raises OSError if they can't be reached now, NotificationRefused if they never can be.
    """
    first_of_sku = {f"rupture:{recorded.event.sku}": recorded for recorded in reversed(batch)}
    due = sent_notifications.due(database, first_of_sku, every=NOTIFICATION_INTERVAL)
    if due:
        ruptures = sorted((first_of_sku[clé] for clé in due), key=attrgetter("position"))
        notifications.send(notification_of(ruptures))
        sent_notifications.note_sent(database, due)
