"""How many commands share one transaction of the message bus."""

from types import SimpleNamespace
from typing import Any

import pytest

from allocation.adapters.write_model.repository import Waiting
from allocation.domain.commands import Allouer, CréerLot
from allocation.service_layer.messagebus import MessageBus
from allocation.testing import FakeUnitOfWork, in_memory_bus
from allocation.testing.fakes import FakeRepository

TIME_S = 0.1


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def takes_too_long(self, *_: object) -> None:
        self.now += 100 * TIME_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        "allocation.service_layer.messagebus.time", SimpleNamespace(monotonic=clock.monotonic)
    )
    return clock


@pytest.fixture
def bus() -> MessageBus[FakeUnitOfWork]:
    bus = in_memory_bus()
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    return bus


def carried_out(bus: MessageBus[FakeUnitOfWork]) -> int:
    """How many of three commands one transaction carries out."""
    tasks: list[Any] = [bus._task(Allouer(f"c-{n}", "LAMPE", 1)) for n in range(3)]
    return len(bus._transact(tasks, TIME_S, Waiting.BRIEFLY))


def test_un_long_chargement_ne_renvoie_pas_à_plus_tard_ce_qu_il_a_chargé(
    bus: MessageBus[FakeUnitOfWork], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRepository, "prepare", lambda *_: clock.takes_too_long())

    assert carried_out(bus) == 3


def test_après_une_longue_commande_les_autres_passent_dans_la_transaction_suivante(
    bus: MessageBus[FakeUnitOfWork], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = FakeRepository.get

    def long_get(self: FakeRepository, sku: str, *lignes: Any) -> Any:
        clock.takes_too_long()
        return get(self, sku, *lignes)

    monkeypatch.setattr(FakeRepository, "get", long_get)

    assert carried_out(bus) == 1
