"""Events that an earlier program has stored: whoever reads the journal gets them in the form of today."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.old_events import store_as_before

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.archiving import JournalArchiver
from allocation.adapters.journal.rows import RecordedEvent
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé
from allocation.projections.delivery import Subscription
from allocation.projections.follower import ProjectionFollower
from allocation.projections.outside import subscription_follower
from allocation.projections.projector import catch_up, register
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, journal_followers, projection_followers
from allocation.service_layer.handlers import ALLOCATIONS_CHANNEL
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

TODAY = [Alloué("c-1", "LAMPE", 4, "lot-1"), Alloué("c-2", "LAMPE", 3, "lot-1")]


@pytest.fixture
def bus(database: Database) -> Bus:
    """A bus that leaves everything that follows to the test; there is a lot of lamps."""
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    return bus


@pytest.fixture
def allocate(bus: Bus, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Has TODAY happen, and stores it as an earlier program would have; returns the journal's end."""

    def allocate() -> int:
        for event in TODAY:
            bus.handle(Allouer(event.id_commande, event.sku, event.quantité))
        store_as_before(sql, monkeypatch, Alloué)
        return 1 + len(TODAY)

    return allocate


@pytest.mark.parametrize("outside", [False, True])
def test_un_abonné_les_reçoit_avec_leurs_champs_d_aujourd_hui(
    database: Database, allocate: Callable[[], int], *, outside: bool
) -> None:
    received: list[Event] = []

    def note(batch: Sequence[RecordedEvent[Alloué]], _: object) -> None:
        received.extend(recorded.event for recorded in batch)

    subscription = Subscription("noté", batch=100, outside=outside)
    follower = subscription_follower(subscription, {Alloué: note}, database, max_parked=1)
    register([follower])

    catch_up([follower], allocate())

    assert received == TODAY


def test_qui_écoute_les_allocations_les_entend_de_même(
    database: Database, allocate: Callable[[], int]
) -> None:
    followers = journal_followers(database, Settings())
    register(followers)

    with database.sessions.listen(ALLOCATIONS_CHANNEL) as listener:
        catch_up(followers, allocate())
        heard = [json.loads(each.payload) for each in listener.notifies(timeout=10, stop_after=len(TODAY))]

    assert [message["data"] for message in heard] == [vars(event) for event in TODAY]


class TestVérifier:
    @pytest.fixture
    def followers(self, database: Database) -> Sequence[ProjectionFollower]:
        followers = projection_followers(database)
        register(followers)
        return followers

    @pytest.fixture
    def end(self, bus: Bus, sql: Sql, monkeypatch: pytest.MonkeyPatch, allocate: Callable[[], int]) -> int:
        """A journal in which a lot has lost its lines, as an earlier program has stored it; its end."""
        allocate()
        bus.handle(CréerLot("lot-2", "LAMPE", 3))
        end = bus.handle(ModifierQuantitéLot("lot-1", 0)).position
        assert end is not None
        for event_type in (LotCréé, Alloué, Désalloué):
            store_as_before(sql, monkeypatch, event_type)
        return end

    def test_une_vue_qui_ne_les_a_pas_encore_lus_est_trouvée_juste(
        self, database: Database, followers: Sequence[ProjectionFollower], end: int
    ) -> None:
        """To compare it, its handlers are given what they have still to read."""
        assert list(verify(database, followers)) == []
        catch_up(followers, end)
        assert list(verify(database, followers)) == []
        assert [line["réf_lot"] for line in views.allocations("c-2", database)] == ["lot-2"]

    @pytest.mark.parametrize("archived", [False, True])
    def test_une_vue_qui_ne_se_compare_qu_au_journal_l_est_aussi(
        self,
        database: Database,
        followers: Sequence[ProjectionFollower],
        end: int,
        tmp_path: Path,
        *,
        archived: bool,
    ) -> None:
        catch_up(followers, end)
        if archived:
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            JournalArchiver(database, tmp_path, chunk=2).archive(tomorrow, lambda _done, _total: None)
        folded = [
            ProjectionFollower(replace(each.projection, truth=None), each._routes, database)
            for each in followers
        ]

        assert list(verify(database, folded)) == []
