"""Where a repeated command was carried out, as the shipped fake and PostgreSQL find it."""

from collections.abc import Sequence

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Désalloué
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.messagebus import MessageBus
from allocation.testing import in_memory_bus

Bus = MessageBus[JournalledUnitOfWork]

LOT = CréerLot("lot-1", "LAMPE", 100)
AUTRE_LOT = CréerLot("lot-2", "LAMPE", 30)


@pytest.fixture(params=["fake", "postgresql"])
def bus(request: pytest.FixtureRequest) -> Bus:
    if request.param == "postgresql":
        database: Database = request.getfixturevalue("database")
        return bootstrap(database)  # type: ignore[return-value]
    return in_memory_bus()  # type: ignore[return-value]


def positions(bus: Bus, commands: Sequence[Command]) -> list[int | None]:
    return [bus.handle(command).position for command in commands]


def repeated(bus: Bus, command: Command) -> int | None:
    """The position of a repetition, which changes nothing."""
    results = bus.handle(command)
    assert results.events == ()
    return results.position


def test_une_ligne_répétée_a_la_position_de_son_allocation(bus: Bus) -> None:
    lignes = [Allouer("c-1", "LAMPE", 1), Allouer("c-1", "LAMPE", 2, "2"), Allouer("c-2", "LAMPE", 3)]
    bus.handle(LOT)
    bus.handle(CréerLot("lot-t", "TABLE", 100))
    first = positions(bus, [*lignes, Allouer("c-1", "TABLE", 1)])

    assert [repeated(bus, ligne) for ligne in lignes] == first[:3] == [3, 4, 5]


def test_une_ligne_réallouée_a_la_position_de_sa_dernière_allocation(bus: Bus) -> None:
    ligne = Allouer("c-1", "LAMPE", 20)
    positions(bus, [LOT, ligne, AUTRE_LOT])
    moved = bus.handle(ModifierQuantitéLot("lot-1", 10))

    assert repeated(bus, ligne) == moved.position == 6


def test_un_lot_répété_a_la_position_de_sa_réception(bus: Bus) -> None:
    [first, *_] = positions(bus, [LOT, AUTRE_LOT, ModifierQuantitéLot("lot-1", 90)])

    assert repeated(bus, LOT) == first == 1


def test_une_correction_répétée_a_la_position_de_ce_qui_en_a_suivi(bus: Bus) -> None:
    """Its token covers the lines that it moved, and those that it left without a lot."""
    positions(bus, [LOT, AUTRE_LOT, CréerLot("lot-3", "LAMPE", 1)])
    positions(bus, [Allouer(f"c-{n}", "LAMPE", 25) for n in range(4)])
    positions(bus, [ModifierQuantitéLot("lot-3", 2), ModifierQuantitéLot("lot-2", 31)])
    [first] = positions(bus, [ModifierQuantitéLot("lot-1", 30)])
    positions(bus, [Allouer("c-9", "LAMPE", 1)])

    assert first == 16
    assert repeated(bus, ModifierQuantitéLot("lot-1", 30)) == first
    assert repeated(bus, ModifierQuantitéLot("lot-2", 31)) == 9


def test_une_correction_à_ce_que_le_lot_avait_déjà_a_la_position_de_sa_réception(bus: Bus) -> None:
    positions(bus, [AUTRE_LOT, LOT, Allouer("c-1", "LAMPE", 1)])

    assert repeated(bus, ModifierQuantitéLot("lot-1", 100)) == 2


def test_des_lots_de_même_référence_ont_chacun_leurs_positions(bus: Bus) -> None:
    of_table = CréerLot("lot-1", "TABLE", 50)
    received = positions(bus, [LOT, of_table])
    corrected = positions(
        bus, [ModifierQuantitéLot("lot-1", n, sku) for sku, n in (("LAMPE", 9), ("TABLE", 8))]
    )

    assert [repeated(bus, command) for command in (LOT, of_table)] == received == [1, 2]
    assert repeated(bus, ModifierQuantitéLot("lot-1", 9, "LAMPE")) == corrected[0] == 3
    assert repeated(bus, ModifierQuantitéLot("lot-1", 8, "TABLE")) == corrected[1] == 4


def test_une_correction_sans_sku_répétée_a_la_position_de_la_première(bus: Bus) -> None:
    positions(bus, [LOT, AUTRE_LOT])
    [first] = positions(bus, [ModifierQuantitéLot("lot-1", 90)])
    positions(bus, [ModifierQuantitéLot("lot-2", 20)])

    assert repeated(bus, ModifierQuantitéLot("lot-1", 90)) == first == 3


def test_un_événement_sans_suite_a_la_fin_du_journal_pour_position(bus: Bus) -> None:
    positions(bus, [LOT, Allouer("c-1", "LAMPE", 1), AUTRE_LOT])

    results = bus.handle(Désalloué("c-1", "LAMPE", 1, "lot-1"))

    assert (results.events, results.position) == ((), 3)


def test_un_refus_répété_a_la_position_du_premier(bus: Bus) -> None:
    refused = Allouer("c-1", "LAMPE", 101)
    [_, first, _] = positions(bus, [LOT, refused, Allouer("c-2", "LAMPE", 1)])

    assert repeated(bus, refused) == first == 2
