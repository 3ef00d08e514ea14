"""Any commands give the same answers and events on PostgreSQL as on the fake, and leave sound views."""

from datetime import date
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import Refus
from allocation.domain.events import Event
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.testing import in_memory_bus

numéros = st.integers(1, 3)
petites = st.integers(1, 12)

Answer = tuple[object, tuple[Event, ...]]


def test_postgresql_répond_comme_le_modèle_en_mémoire(database: Database) -> None:
    examples = count(1)
    bus = bootstrap(database)

    class Comparaison(RuleBasedStateMachine):
        """Two services are told the same; each example has identifiers of its own, so one database serves."""

        @initialize()
        def naître(self) -> None:
            self.example = next(examples)
            self.fake = in_memory_bus()

        @rule(lot=numéros, sku=numéros, quantité=petites, eta=st.none() | st.just(date(2027, 1, 1)))
        def recevoir(self, lot: int, sku: int, quantité: int, eta: date | None) -> None:
            self._tell_both(CréerLot(self._own(f"lot-{lot}"), self._own(f"SKU-{sku}"), quantité, eta))

        @rule(commande=st.integers(1, 6), sku=numéros, quantité=petites, ligne=st.sampled_from("12"))
        def allouer(self, commande: int, sku: int, quantité: int, ligne: str) -> None:
            self._tell_both(Allouer(self._own(f"c-{commande}"), self._own(f"SKU-{sku}"), quantité, ligne))

        @rule(lot=numéros, quantité=petites, sku=st.none() | numéros)
        def corriger(self, lot: int, quantité: int, sku: int | None) -> None:
            of = None if sku is None else self._own(f"SKU-{sku}")
            self._tell_both(ModifierQuantitéLot(self._own(f"lot-{lot}"), quantité, of))

        def _own(self, name: str) -> str:
            return f"{self.example}-{name}"

        def _tell_both(self, command: Command) -> None:
            assert _answer(bus, command) == _answer(self.fake, command)

    run_state_machine_as_test(
        Comparaison,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert list(verify(database, projection_followers(database))) == []


def _answer(bus: MessageBus[Any], command: Command) -> Answer:
    try:
        results = bus.handle(command)
    except Refus as refusal:
        return (type(refusal), str(refusal)), ()
    return list(results), results.events
