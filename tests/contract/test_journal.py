"""What every journal must do: the shipped fake and PostgreSQL alike."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from allocation.adapters.journal.journal import AbstractJournal, PostgreSQLJournal
from allocation.adapters.journal.rows import NO_CAUSE, Cause
from allocation.adapters.postgresql.database import Database
from allocation.domain.events import (
    Alloué,
    Désalloué,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.testing import FakeJournal

UN_DE_CHAQUE = [
    LotCréé("lot-1", "LAMPE", 10),
    LotCréé("lot-2", "LAMPE", 10, date(2027, 1, 2)),
    QuantitéLotModifiée("lot-2", "LAMPE", 8, quantité_précédente=10, eta=date(2027, 1, 2)),
    Alloué("commande « é »", "LAMPE", 3, "lot-1", "2"),
    Désalloué("c-1", "LAMPE", 3, "lot-1"),
    RuptureDeStock("c-1", "LAMPE", 30, quantité_disponible=8),
]


@pytest.fixture(params=["fake", "postgresql"])
def journal(request: pytest.FixtureRequest) -> Iterator[AbstractJournal]:
    if request.param == "fake":
        yield FakeJournal()
    else:
        database: Database = request.getfixturevalue("database")
        with database.working() as connection:
            yield PostgreSQLJournal(connection)


def test_un_journal_vide_est_à_la_position_zéro(journal: AbstractJournal) -> None:
    assert journal.last_position() == 0
    assert journal.read(after=0, limit=10) == []


def test_chaque_type_d_événement_se_relit_comme_il_a_été_écrit(journal: AbstractJournal) -> None:
    journal.append(UN_DE_CHAQUE)

    assert [recorded.event for recorded in journal.read(after=0, limit=10)] == UN_DE_CHAQUE


def test_les_positions_ne_font_que_croître(journal: AbstractJournal) -> None:
    first = journal.append(UN_DE_CHAQUE)
    second = journal.append(UN_DE_CHAQUE[:1])

    positions = [recorded.position for recorded in journal.read(after=0, limit=100)]
    assert positions == sorted(set(positions))
    assert (positions[-2], positions[-1]) == (first, second)
    assert journal.last_position() == second


def test_la_lecture_reprend_derrière_une_position_et_s_arrête_à_la_limite(journal: AbstractJournal) -> None:
    journal.append(UN_DE_CHAQUE)
    [first, second, third, *_] = journal.read(after=0, limit=10)

    assert journal.read(after=first.position, limit=2) == [second, third]


def test_chaque_événement_a_son_identité_et_son_instant(journal: AbstractJournal) -> None:
    journal.append(UN_DE_CHAQUE)

    recorded = journal.read(after=0, limit=10)
    assert len({each.id for each in recorded}) == len(UN_DE_CHAQUE)
    assert [each.survenu_le for each in recorded] == sorted(each.survenu_le for each in recorded)
    assert abs(datetime.now(UTC) - recorded[0].survenu_le) < timedelta(minutes=1)


def test_un_grand_lot_d_événements_garde_son_ordre(journal: AbstractJournal) -> None:
    events = [Alloué(f"c-{n}", "LAMPE", 1, "lot-1") for n in range(3000)]

    journal.append(events)

    assert [recorded.event for recorded in journal.read(after=0, limit=5000)] == events


def test_chaque_événement_dit_de_quelle_commande_il_vient_s_il_le_sait(journal: AbstractJournal) -> None:
    allouer, inconnue = Cause("Allouer", uuid4()), Cause(None, uuid4())
    journal.append(UN_DE_CHAQUE[:3], [allouer, allouer, inconnue])
    journal.append(UN_DE_CHAQUE[:1])

    causes = [recorded.cause for recorded in journal.read(after=0, limit=10)]
    assert causes == [allouer, allouer, inconnue, NO_CAUSE]
