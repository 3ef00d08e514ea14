"""Out-of-stock mails: sent while no transaction is open, one for a burst; a refusal holds up nothing."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text
from tests.waiting import eventually

from allocation.adapters.journal import checkpoints
from allocation.adapters.journal.checkpoints import Checkpoints
from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.listener import Waker
from allocation.adapters.notifications import Notification, NotificationRefused
from allocation.adapters.postgresql.database import Database
from allocation.domain.events import RuptureDeStock
from allocation.projections import outside
from allocation.projections.delivery import Subscription
from allocation.projections.outside import OutsideFollower
from allocation.projections.parked import ParkedReaders
from allocation.projections.projector import Projector, catch_up, register
from allocation.service_layer.handlers import STOCK_OUT_NOTIFICATION, envoyer_notification_rupture_stock
from allocation.testing import FakeNotifications
from allocation.views.progress import progress

Sql = Callable[..., list[dict[str, Any]]]

NAME = STOCK_OUT_NOTIFICATION.name


class Poste(FakeNotifications):
    """A mail server that does something when it is handed a message."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.meanwhile: Callable[[Notification], object] = lambda _: None

    def send(self, notification: Notification) -> None:
        self.asked += 1
        self.meanwhile(notification)
        super().send(notification)


@pytest.fixture
def poste() -> Poste:
    return Poste()


@pytest.fixture
def courriels(database: Database, poste: Poste) -> OutsideFollower:
    follower = lecteur(database, poste)
    register([follower])
    return follower


def lecteur(database: Database, poste: Poste, **options: int) -> OutsideFollower:
    handler = partial(envoyer_notification_rupture_stock, notifications=poste)
    return OutsideFollower(STOCK_OUT_NOTIFICATION, {RuptureDeStock: handler}, database, **options)


def manquer(database: Database, skus: Iterable[str]) -> int:
    """Record that there is not enough of these; the position of the last event."""
    events = [RuptureDeStock("c-1", sku, 2, quantité_disponible=1, ligne="1") for sku in skus]
    with database.working() as connection, connection.begin():
        return PostgreSQLJournal(connection).append(events)


def test_aucune_transaction_n_est_ouverte_pendant_l_envoi(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    open_transactions: list[object] = []

    def look(_: Notification) -> None:
        query = (
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
        )
        with database.reading() as connection:
            open_transactions.extend(connection.execute(text(f"{query} AND pid <> pg_backend_pid()")))

    poste.meanwhile = look

    catch_up([courriels], manquer(database, ["LAMPE"]))

    assert len(poste.sent) == 1
    assert open_transactions == []


def test_une_base_qui_coupe_ce_qui_dort_dans_une_transaction_ne_fait_pas_répéter_les_courriels(
    database: Database, courriels: OutsideFollower, poste: Poste, sql: Sql
) -> None:
    [name] = sql("SELECT current_database() AS name")
    sql(f"ALTER DATABASE {name['name']} SET idle_in_transaction_session_timeout = '1s'")
    database.close()

    def slowly(_: Notification) -> None:
        with database.reading() as connection:
            connection.execute(text("SELECT pg_sleep(1.5)"))

    poste.meanwhile = slowly
    with Projector([courriels], Waker(), poll_interval=0.05):
        end = manquer(database, ["LAMPE"])
        eventually(lambda: _position(database) == end)

    assert poste.asked == 1


def test_pendant_qu_un_lecteur_envoie_les_autres_n_envoient_pas_la_même_chose(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    other = lecteur(database, poste)
    reached: list[int | None] = []
    poste.meanwhile = lambda _: reached.extend([other.advance(wait=True), other.advance(wait=True)])

    catch_up([courriels], manquer(database, ["LAMPE"]))

    assert reached == [None, None]
    assert len(poste.sent) == 1


def test_ce_qu_un_lecteur_mort_avait_pris_est_envoyé_quand_son_temps_est_passé(
    database: Database, courriels: OutsideFollower, poste: Poste, sql: Sql
) -> None:
    with database.working() as connection, connection.begin():
        Checkpoints(connection, checkpoints.subscriptions).claim(NAME, 100)
    end = manquer(database, ["LAMPE"])
    catch_up([courriels], end)
    assert poste.sent == []

    sql("UPDATE subscriptions SET réservé_jusqu_au = clock_timestamp() - interval '1 second'")
    catch_up([courriels], end)

    assert len(poste.sent) == 1


def test_ce_qui_est_pris_par_une_horloge_qui_avançait_n_est_pas_pris(
    database: Database, courriels: OutsideFollower, poste: Poste, sql: Sql
) -> None:
    sql("UPDATE subscriptions SET réservé_jusqu_au = clock_timestamp() + interval '1 day'")

    catch_up([courriels], manquer(database, ["LAMPE"]))

    assert len(poste.sent) == 1


def test_qui_a_mis_trop_de_temps_ne_confirme_pas_ce_qu_un_autre_a_repris(
    database: Database, courriels: OutsideFollower, poste: Poste, sql: Sql
) -> None:
    end = manquer(database, ["LAMPE"])

    def taken_over(_: Notification) -> None:
        poste.meanwhile = lambda _: None
        sql("UPDATE subscriptions SET réservé_jusqu_au = réservé_jusqu_au + interval '1 second'")

    poste.meanwhile = taken_over

    assert courriels.advance(wait=False) is not None or courriels.rest_s
    assert courriels.advance(wait=True) is None
    assert _position(database) < end


def test_trois_mille_ruptures_font_un_courriel(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    catch_up([courriels], manquer(database, [f"SKU-{n:04}" for n in range(3000)] * 2))

    [courriel] = poste.sent
    assert courriel.subject == "Ruptures de stock : 3000 articles"
    lines = courriel.body.splitlines()
    assert len(lines) == 3000
    assert lines[7] == "La commande c-1 demande 2 unités de SKU-0007 ; le lot le mieux fourni en a 1."


def test_des_ruptures_parmi_beaucoup_d_autres_événements_font_un_courriel(
    database: Database, courriels: OutsideFollower, poste: Poste, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "BATCH", 10)

    catch_up([courriels], manquer(database, [f"SKU-{n}" for n in range(35)]))

    assert [courriel.subject for courriel in poste.sent] == ["Ruptures de stock : 35 articles"]


def test_un_travailleur_attend_que_la_rafale_soit_finie(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    end = manquer(database, ["LAMPE"])
    assert courriels.advance(wait=False) == 0
    assert 0 < courriels.rest_s <= STOCK_OUT_NOTIFICATION.quiet_s

    with Projector([courriels], Waker(), poll_interval=0.05):
        eventually(lambda: _position(database) == end)

    assert len(poste.sent) == 1


def test_le_calme_est_attendu_mais_pas_sans_fin(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    quiet = outside._Quiet(2.0)

    assert quiet.remaining(1) == 2.0
    now += 1.5
    assert quiet.remaining(1) == 0.5
    assert quiet.remaining(2) == 2.0
    now += 2.0
    assert quiet.remaining(2) == 0.0
    waited, newest = 0.0, 2
    while quiet.remaining(newest := newest + 1) > 0:
        now, waited = now + 1.0, waited + 1.0
    assert waited == outside.MAX_QUIETS * 2.0


def test_un_courriel_refusé_pour_de_bon_est_mis_à_part_et_les_autres_partent(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    def refuse(notification: Notification) -> None:
        if "SKU-333" in notification.body:
            raise NotificationRefused("554 indésirable")

    poste.meanwhile = refuse
    readers = ParkedReaders(database, [courriels])
    end = manquer(database, [f"SKU-{n}" for n in range(1000)])

    catch_up([courriels], end)

    told = {line.split()[7] for courriel in poste.sent for line in courriel.body.splitlines()}
    assert told == {f"SKU-{n}" for n in range(1000)} - {"SKU-333"}
    [parked] = readers.summary()
    assert (parked.sku, parked.erreur) == ("SKU-333", "NotificationRefused: 554 indésirable")
    assert _position(database) == end

    assert isinstance(readers.retry(NAME, "SKU-333"), NotificationRefused)
    poste.meanwhile = lambda _: None
    assert readers.retry(NAME, "SKU-333") is None
    assert poste.sent[-1].subject == "Rupture de stock : SKU-333"
    assert readers.summary() == []


def test_des_gens_que_le_serveur_ne_connaît_pas_ne_lui_valent_pas_mille_courriels(
    database: Database, poste: Poste
) -> None:
    def refuse(_: Notification) -> None:
        raise NotificationRefused("550 inconnu")

    poste.meanwhile = refuse
    courriels = lecteur(database, poste, max_parked=100)
    register([courriels])

    catch_up([courriels], manquer(database, [f"SKU-{n}" for n in range(1000)]))

    assert len(ParkedReaders(database, [courriels]).summary()) == 1000
    assert poste.asked <= outside.MAX_FAILURES + 2
    [reader] = [each for each in progress(database) if each.name == NAME]
    assert (reader.state, reader.erreur) == (
        "paused",
        "events of 1000 SKUs are parked: allocation parked list",
    )


def test_un_serveur_absent_ne_met_rien_à_part_et_rend_ce_qui_était_pris(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    def away(_: Notification) -> None:
        raise ConnectionRefusedError

    poste.meanwhile = away
    end = manquer(database, ["LAMPE", "TABLE"])
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            courriels.advance(wait=True)

    poste.meanwhile = lambda _: None
    catch_up([lecteur(database, poste)], end)

    assert [courriel.subject for courriel in poste.sent] == ["Ruptures de stock : 2 articles"]
    assert ParkedReaders(database, [courriels]).summary() == []


def test_un_courriel_parti_sans_que_ce_soit_confirmé_ne_repart_pas(
    database: Database, courriels: OutsideFollower, poste: Poste, sql: Sql
) -> None:
    end = manquer(database, ["LAMPE"])
    catch_up([courriels], end)

    sql("UPDATE subscriptions SET position = 0")
    catch_up([courriels], end)

    assert len(poste.sent) == 1


def test_réessayer_pendant_que_le_lecteur_envoie_attend_son_tour(
    database: Database, courriels: OutsideFollower, poste: Poste
) -> None:
    begun, go_on = Signal(), Signal()

    def slowly(_: Notification) -> None:
        begun.set()
        assert go_on.wait(30)

    poste.meanwhile = slowly
    end = manquer(database, ["LAMPE"])
    sending = Thread(target=catch_up, args=([courriels], end))
    sending.start()
    assert begun.wait(30)

    error = ParkedReaders(database, [lecteur(database, poste)]).retry(NAME, "TABLE")

    go_on.set()
    sending.join()
    assert "is at work: try again" in str(error)


def test_un_arriéré_se_résorbe_sans_pauses(database: Database) -> None:
    """With the pause that keeps batches together, a thousand events one by one would take forty seconds."""
    seen: list[str] = []

    def handler(batch: Sequence[Any], _: object) -> None:
        seen.extend(recorded.event.sku for recorded in batch)

    one_by_one = [
        OutsideFollower(Subscription("dehors", outside=True), {RuptureDeStock: handler}, database),
    ]
    register(one_by_one)
    end = manquer(database, [f"SKU-{n}" for n in range(10)])

    for _ in range(9):
        one_by_one[0].advance(wait=False)
        assert one_by_one[0].has_backlog
    while _position(database, "dehors") < end:
        one_by_one[0].advance(wait=False)
    one_by_one[0].advance(wait=False)

    assert not one_by_one[0].has_backlog
    assert seen == [f"SKU-{n}" for n in range(10)]


def _position(database: Database, name: str = NAME) -> int:
    return next(reader.position for reader in progress(database) if reader.name == name)
