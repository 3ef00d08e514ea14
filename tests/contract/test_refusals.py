"""A refusal that is told is its command's answer alone, on the shipped fake and on PostgreSQL."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.repository import Needs, Waiting
from allocation.adapters.write_model.unit_of_work import AbstractUnitOfWork, JournalledUnitOfWork
from allocation.domain.commands import Allouer, Command, CréerLot
from allocation.domain.errors import Refus, StockInsuffisant
from allocation.domain.model import LigneDeCommande
from allocation.service_layer.bootstrap import COMMAND_HANDLERS, bootstrap
from allocation.service_layer.messagebus import MessageBus, Results
from allocation.service_layer.use_cases import UseCase, use_case
from allocation.testing import in_memory_bus

Bus = MessageBus[JournalledUnitOfWork]


@dataclass(frozen=True)
class AllouerTout(Command):
    """All of these lines, or none."""

    lignes: tuple[LigneDeCommande, ...]


@use_case(
    AllouerTout,
    key=lambda command: command.lignes[0].sku,
    needs=lambda command: Needs(
        skus=tuple(ligne.sku for ligne in command.lignes),
        lignes=tuple((ligne.sku, ligne.clé) for ligne in command.lignes),
    ),
    first_position=lambda command, journal: None,
)
def allouer_tout(command: AllouerTout, uow: AbstractUnitOfWork) -> list[str | None]:
    with uow:
        produits = [uow.produits.get(ligne.sku, ligne) for ligne in command.lignes]
        planned = [
            (produit, produit.planifier(ligne))
            for produit, ligne in zip(produits, command.lignes, strict=True)
            if produit is not None
        ]
        refus = [plan.refus for _, plan in planned if plan.refus is not None]
        for produit, plan in planned:
            if plan.refus is not None or not refus:
                produit.appliquer(plan)
        uow.commit()
    if refus:
        raise refus[0]
    return [plan.réf_lot for _, plan in planned]


def refuser_sans_accord(command: AllouerTout, uow: AbstractUnitOfWork) -> list[str | None]:
    """As a handler that finds out too late: it has changed one product, and then refuses."""
    with uow:
        for ligne in command.lignes:
            produit = uow.produits.get(ligne.sku, ligne)
            assert produit is not None
            plan = produit.planifier(ligne)
            produit.appliquer(plan)
            if plan.refus is not None:
                raise plan.refus
    return []


@pytest.fixture(params=["fake", "postgresql"])
def bus(request: pytest.FixtureRequest) -> Bus:
    if request.param == "postgresql":
        database: Database = request.getfixturevalue("database")
        made: Bus = bootstrap(database, inline=False)  # type: ignore[assignment]
    else:
        made = in_memory_bus()  # type: ignore[assignment]
    made.handle(CréerLot("lot-a", "LAMPE", 10))
    made.handle(CréerLot("lot-b", "TABLE", 2))
    return made


def knowing(bus: Bus, added: UseCase[AllouerTout, list[str | None]]) -> Bus:
    """The same bus with one command more."""
    return MessageBus(
        lambda: bus.uow,
        command_handlers={**COMMAND_HANDLERS, AllouerTout: added},
        reactions={},
        after_commit=lambda _: None,
        original_positions=bus._original_positions,
    )


def together(bus: Bus, commands: Sequence[Command]) -> Sequence[object]:
    """What came of commands that share one transaction; raises what would have them tried one by one."""
    return bus._transact([bus._task(command) for command in commands], math.inf, Waiting.BRIEFLY)


TOUT = AllouerTout((LigneDeCommande("c-2", "LAMPE", 4), LigneDeCommande("c-2", "TABLE", 3)))
GROUPE = [Allouer("c-1", "LAMPE", 6), TOUT, Allouer("c-3", "LAMPE", 4), Allouer("c-4", "TABLE", 2)]


def test_un_refus_après_plusieurs_produits_ne_coûte_rien_à_ses_voisines_et_sa_rupture_reste(
    bus: Bus,
) -> None:
    first, refused, *others = together(knowing(bus, allouer_tout), GROUPE)

    assert [first, *others] == [["lot-a"], ["lot-a"], ["lot-b"]]
    assert isinstance(refused, Results)
    assert isinstance(refused.refusal, StockInsuffisant)
    assert (refused.refusal.sku, refused.refusal.quantité_disponible) == ("TABLE", 2)
    assert (refused, refused.position) == ([None], 4)
    assert [type(event).__name__ for event in refused.events] == ["RuptureDeStock"]


def test_une_commande_servie_sur_plusieurs_produits_l_est_toute(bus: Bus) -> None:
    tout = AllouerTout((LigneDeCommande("c-2", "LAMPE", 4), LigneDeCommande("c-2", "TABLE", 2)))

    results = knowing(bus, allouer_tout).handle(tout)

    assert results == [["lot-a", "lot-b"]]
    assert len(results.events) == 2


def test_un_refus_sans_accord_défait_ce_qu_il_a_changé_et_n_en_garde_rien(bus: Bus) -> None:
    hesitant = knowing(bus, replace(allouer_tout, handler=refuser_sans_accord))
    with pytest.raises(Refus):
        together(hesitant, GROUPE)

    with pytest.raises(StockInsuffisant):
        hesitant.handle(TOUT)

    # All of the stock is there still, and nothing was told of the order.
    assert hesitant.handle(Allouer("c-1", "LAMPE", 10)) == ["lot-a"]
    assert hesitant.handle(Allouer("c-3", "TABLE", 2)).position == 4
