"""Which stretches of the journal are handed to SQL without reading their events."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Column, Connection, MetaData, String, Table

from allocation.adapters.journal.ledger import between
from allocation.adapters.journal.rows import EventKind
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé
from allocation.projections.delivery import Projection, delivered, in_sql
from allocation.projections.stretches import stretches

VUE = Projection(Table("vue", MetaData(), Column("sku", String)))


@in_sql(by=VUE)
def ajouter(events: str) -> str:
    return f"INSERT INTO vue SELECT sku FROM {events}"


@in_sql(by=VUE)
def enlever(events: str) -> str:
    return f"DELETE FROM vue WHERE sku IN (SELECT sku FROM {events})"


@delivered(by=VUE)
def en_python(events: Sequence[Event], connection: Connection) -> None:
    """Wants to see each event."""


ROUTES = {LotCréé: ajouter, Alloué: ajouter, Désalloué: enlever}


def test_un_handler_a_tout_ce_qui_est_pour_lui_d_une_traite() -> None:
    kinds = [EventKind("LotCréé", 1, 3, 10, 40), EventKind("Alloué", 1, 30, 12, 60)]

    assert stretches(kinds, ROUTES) == [(ajouter, between([LotCréé, Alloué], 10, 60))]


def test_deux_handlers_l_un_après_l_autre_restent_dans_l_ordre_du_journal() -> None:
    kinds = [EventKind("Alloué", 1, 5, 20, 30), EventKind("Désalloué", 1, 5, 10, 19)]

    assert stretches(kinds, ROUTES) == [
        (enlever, between([Désalloué], 10, 19)),
        (ajouter, between([LotCréé, Alloué], 20, 30)),
    ]


@pytest.mark.parametrize(
    ("kinds", "routes"),
    [
        ([EventKind("Alloué", 1, 5, 10, 30), EventKind("Désalloué", 1, 5, 20, 40)], ROUTES),
        ([EventKind("Alloué", 1, 5, 10, 30), EventKind("Désalloué", 1, 1, 20, 20)], ROUTES),
        ([EventKind("Alloué", 2, 5, 10, 30)], ROUTES),
        ([EventKind("Alloué", 1, 5, 10, 30)], {Alloué: en_python}),
    ],
    ids=["en alternance", "au milieu", "autre version", "handler en Python"],
)
def test_ce_qui_doit_être_lu_l_est(kinds: list[EventKind], routes: dict[type[Event], object]) -> None:
    assert stretches(kinds, routes) is None  # type: ignore[arg-type]
