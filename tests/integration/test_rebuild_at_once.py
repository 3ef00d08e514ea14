"""Rebuilds, going back, and parked events, at the same time: each event takes effect once, nothing blocks."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.waiting import eventually, wait_until_blocked

from allocation.adapters.journal.checkpoints import Checkpoints, ParkedEvents, projections
from allocation.adapters.journal.listener import Waker
from allocation.adapters.postgresql.database import Database
from allocation.adapters.read_models import shadow_tables
from allocation.adapters.read_models.rebuilds import Rebuilds
from allocation.adapters.read_models.shadow_tables import BUILDING, PREVIOUS
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.events import Alloué, LotCréé
from allocation.projections import rebuild as rebuilding
from allocation.projections import standby_tables
from allocation.projections.follower import ProjectionFollower
from allocation.projections.parked import ParkedReaders
from allocation.projections.projector import Projector, catch_up
from allocation.projections.rebuild import Rebuilder, RebuildRefused, rebuild, request
from allocation.projections.stock_view import mettre_à_jour_stock_vue
from allocation.projections.undo import undo
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views.progress import progress

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]

NAME = "stock_view"
POISON = "POISON"


@pytest.fixture
def bus(database: Database) -> Bus:
    """A bus on a shop of three SKUs, of which the views know everything."""
    bus = bootstrap(database)
    for sku in (POISON, "LAMPE", "TABLE"):
        bus.handle(CréerLot(f"lot-{sku}", sku, 10_000))
    return bus


@pytest.fixture
def follower(database: Database, bus: Bus) -> ProjectionFollower:
    return next(each for each in projection_followers(database) if each.name == NAME)


@pytest.fixture
def empoisonné(database: Database, follower: ProjectionFollower) -> ProjectionFollower:
    """The same reader, with a handler that fails on one SKU."""

    def handler(events: Sequence[Any], connection: Connection) -> None:
        if POISON in {event.sku for event in events}:
            raise ZeroDivisionError("empoisonné")
        mettre_à_jour_stock_vue(events, connection)

    return ProjectionFollower(follower.projection, {LotCréé: handler, Alloué: handler}, database)


def acheter(database: Database, commandes: range, *skus: str) -> int:
    """Allocate a line of each SKU for each order, unseen by the views; the last position."""
    late = bootstrap(database, inline=False)
    positions = [
        late.handle(Allouer(f"commande-{n}", sku, 1)).position
        for n in commandes
        for sku in skus or ("LAMPE",)
    ]
    return positions[-1] or 0


def à_la_fois(*actions: Callable[[], Any]) -> list[Exception | None]:
    """What each of the actions, begun together, has raised."""
    begin = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> None:
        begin.wait(10)
        action()

    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(run, action) for action in actions]
    errors = [future.exception() for future in futures]
    return [error for error in errors if error is None or isinstance(error, Exception)]


def juste(database: Database) -> bool:
    return list(verify(database, projection_followers(database))) == []


def test_revenir_deux_fois_à_la_fois_n_applique_chaque_événement_qu_une_fois(
    database: Database, follower: ProjectionFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(database, follower)
    before = acheter(database, range(60))
    catch_up(projection_followers(database), before)
    monkeypatch.setattr(standby_tables, "BATCH", 5)

    assert à_la_fois(*[lambda: undo(database, follower)] * 3) == [None] * 3

    assert juste(database)
    assert _positions(database)[NAME] >= before


def test_qui_revient_à_la_table_d_avant_pendant_qu_un_autre_le_fait_n_y_revient_pas_deux_fois(
    database: Database, follower: ProjectionFollower
) -> None:
    rebuild(database, follower)
    [earlier] = _tables(database, PREVIOUS)
    with database.working() as other, other.begin():
        Rebuilds(other).hold_requests(NAME)
        with ThreadPoolExecutor(2) as pool:
            undoing = [pool.submit(undo, database, follower) for _ in range(2)]
            eventually(lambda: len(_waiting(database)) == 2)
            other.commit()
            for each in undoing:
                each.result()

    assert _tables(database, "public") == [earlier]


def test_revenir_pendant_qu_un_travailleur_suit_ne_perd_ni_ne_double_rien(
    database: Database, follower: ProjectionFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_tables, "BATCH", 7)
    rebuild(database, follower)
    followers = projection_followers(database)

    with Projector(followers, Waker(), poll_interval=0.01):
        errors = à_la_fois(
            lambda: acheter(database, range(80)),
            lambda: undo(database, follower),
            lambda: undo(database, follower),
        )
        eventually(
            lambda: {reader.behind for reader in progress(database) if reader.kind == "projection"} == {0}
        )

    assert errors == [None] * 3
    assert juste(database)


def test_une_demande_de_reconstruction_pendant_le_retour_passe_avant_ou_après_lui(
    database: Database, follower: ProjectionFollower
) -> None:
    rebuild(database, follower)
    catch_up(projection_followers(database), acheter(database, range(20)))

    errors = à_la_fois(lambda: undo(database, follower), lambda: request(database, follower.projection))
    rebuilding.run(Rebuilder(database, follower), lambda: None)

    assert all(error is None or isinstance(error, RebuildRefused) for error in errors)
    assert rebuilding.get(database, NAME).phase == "done"
    assert juste(database)


def test_des_demandes_de_reconstruction_à_la_fois_n_en_font_qu_une_qui_aboutit(
    database: Database, follower: ProjectionFollower
) -> None:
    acheter(database, range(20))

    errors = à_la_fois(
        *[lambda: rebuild(database, follower)] * 2, *[lambda: request(database, follower.projection)] * 2
    )
    rebuilding.run(Rebuilder(database, follower), lambda: None)

    assert errors == [None] * 4
    assert rebuilding.get(database, NAME).phase == "done"


def test_ce_qu_une_reconstruction_abandonnée_a_mis_à_part_ne_gêne_pas_la_suivante(
    database: Database, follower: ProjectionFollower, empoisonné: ProjectionFollower
) -> None:
    catch_up(projection_followers(database), acheter(database, range(5), POISON, "LAMPE"))
    request(database, follower.projection, source="journal")
    wrong = Rebuilder(database, empoisonné)
    eventually(lambda: wrong.advance() and _parked(database))

    request(database, follower.projection, source="model")
    rebuilding.run(Rebuilder(database, follower), lambda: None)

    assert rebuilding.get(database, NAME).phase == "done"
    assert _parked(database) == {}
    assert juste(database)


def test_ce_qu_une_reconstruction_échouée_a_mis_à_part_s_en_va_avec_sa_table(
    database: Database, follower: ProjectionFollower, sql: Sql
) -> None:
    request(database, follower.projection)
    with database.working() as connection, connection.begin():
        ParkedEvents(connection, f"{NAME}.building").add(POISON, [1], "empoisonné")
    sql("UPDATE rebuilds SET phase = 'une étape inconnue'")
    rebuilder = Rebuilder(database, follower)

    eventually(lambda: rebuilder.advance() is None)

    assert rebuilding.get(database, NAME).phase == "failed"
    assert rebuilding.get(database, NAME).erreur is not None
    assert _parked(database) == {}
    assert _tables(database, BUILDING) == []


@pytest.mark.parametrize("schema", [BUILDING, PREVIOUS])
def test_réessayer_les_événements_d_une_table_disparue_ne_touche_pas_à_celle_qui_sert(
    database: Database, follower: ProjectionFollower, schema: str
) -> None:
    lecteur = standby_tables.reader_name(NAME, schema)
    with database.working() as connection, connection.begin():
        ParkedEvents(connection, lecteur).add(POISON, [1], "empoisonné")
    readers = ParkedReaders(database, [follower])

    assert isinstance(readers.retry(lecteur, POISON), LookupError)

    assert juste(database)
    assert readers.discard(lecteur, POISON) == 1


def test_réessayer_et_revenir_à_la_fois_n_applique_les_événements_à_part_qu_une_fois(
    database: Database, follower: ProjectionFollower, empoisonné: ProjectionFollower
) -> None:
    """What was parked while the rebuilt table was replaced stays with it, and is applied to it alone."""
    catch_up([empoisonné], acheter(database, range(5), POISON, "LAMPE"))
    rebuild(database, follower)
    readers = ParkedReaders(database, [follower])
    assert _parked(database) == {f"{NAME}.previous": 5}

    errors = à_la_fois(
        lambda: readers.retry(f"{NAME}.previous", POISON),
        lambda: undo(database, follower),
        lambda: readers.retry(NAME, POISON),
    )
    for lecteur in _parked(database):
        assert readers.retry(lecteur, POISON) is None

    assert errors == [None] * 3
    assert juste(database)
    undo(database, follower)
    assert juste(database)


def test_renoncer_aux_événements_à_part_pendant_le_retour_y_renonce(
    database: Database, follower: ProjectionFollower, empoisonné: ProjectionFollower
) -> None:
    catch_up([empoisonné], acheter(database, range(5), POISON, "LAMPE"))
    rebuild(database, follower)
    readers = ParkedReaders(database, [follower])

    errors = à_la_fois(lambda: readers.discard(f"{NAME}.previous", POISON), lambda: undo(database, follower))
    for lecteur in _parked(database):
        readers.discard(lecteur, POISON)

    assert errors == [None] * 2
    lacking = [each for each in verify(database, [follower]) if each.missing]
    assert {each.row["sku"] for each in lacking} == {POISON}


def test_une_étape_échouée_n_est_pas_mise_au_compte_d_une_reconstruction_demandée_depuis(
    database: Database, follower: ProjectionFollower, sql: Sql
) -> None:
    request(database, follower.projection)
    rebuilder = Rebuilder(database, follower)
    known = rebuilding.get(database, NAME)
    sql("UPDATE rebuilds SET demandé_le = demandé_le + interval '1 second'")

    for _ in range(5):
        rebuilder._note_failure(known, ZeroDivisionError())

    assert (rebuilding.get(database, NAME).phase, rebuilding.get(database, NAME).erreur) == ("filling", None)


def test_une_reprise_qui_attend_ne_retient_pas_les_autres_reconstructions_et_dit_pourquoi(
    database: Database, bus: Bus
) -> None:
    followers = projection_followers(database)
    for each in followers:
        request(database, each.projection)
    first, *others = (Rebuilder(database, each) for each in followers)
    with database.working() as reader, reader.begin():
        reader.execute(text(f"SELECT * FROM {first.name} LIMIT 1"))

        with Projector(followers, Waker(), poll_interval=0.01, rebuilders=[first, *others]):
            eventually(lambda: {rebuilding.get(database, each.name).phase for each in others} == {"done"})
            reason = eventually(lambda: rebuilding.get(database, first.name).erreur)
            assert reason is not None
            assert f"waits until {first.name} is free: process " in reason
            shown = next(each for each in progress(database) if each.name == first.name)
            assert (shown.state, shown.erreur) == ("rebuilding", reason)
            reader.rollback()
            eventually(lambda: rebuilding.get(database, first.name).phase == "done")


def test_un_point_de_reprise_tenu_longtemps_ne_retient_pas_les_autres_reconstructions(
    database: Database, bus: Bus
) -> None:
    followers = projection_followers(database)
    for each in followers:
        request(database, each.projection)
    first, *others = (Rebuilder(database, each) for each in followers)
    with database.working() as reader, reader.begin():
        Checkpoints(reader, projections).take(first.name, wait=True)

        with Projector(followers, Waker(), poll_interval=0.01, rebuilders=[first, *others]):
            eventually(lambda: {rebuilding.get(database, each.name).phase for each in others} == {"done"})
            reader.rollback()
            eventually(lambda: rebuilding.get(database, first.name).phase == "done")


def test_revenir_pendant_qu_on_lit_longtemps_est_refusé_et_dit_qui_lit(
    database: Database, follower: ProjectionFollower
) -> None:
    rebuild(database, follower)
    with database.working() as reader, reader.begin():
        reader.execute(text(f"SELECT * FROM {NAME} LIMIT 1"))

        with pytest.raises(RebuildRefused, match="stock_view is not free, try again later: process "):
            undo(database, follower)

    undo(database, follower)
    assert juste(database)


def test_une_demande_attend_l_étape_en_cours_sans_interblocage(
    database: Database, follower: ProjectionFollower
) -> None:
    request(database, follower.projection, source="model")
    with database.working() as step, step.begin():
        Rebuilds(step).take(NAME, wait=False)
        with ThreadPoolExecutor(1) as pool:
            requested = pool.submit(request, database, follower.projection, source="journal")
            wait_until_blocked(database)
            step.execute(text(f"INSERT INTO {BUILDING}.{NAME} SELECT * FROM {NAME}"))
            step.commit()
            assert requested.result().source == "journal"


def _positions(database: Database) -> dict[str, int]:
    return {reader.name: reader.position for reader in progress(database)}


def _parked(database: Database) -> dict[str, int]:
    return {each.lecteur: each.events for each in ParkedReaders(database, []).summary()}


def _waiting(database: Database) -> list[Any]:
    query = "SELECT pid FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
    with database.reading() as connection:
        return list(connection.execute(text(query)))


def _tables(database: Database, schema: str) -> list[int]:
    """The identities of the tables in this schema that are called like the view."""
    with database.reading() as connection:
        found = shadow_tables.identity(connection, NAME, schema)
        return [] if found is None else [found]
