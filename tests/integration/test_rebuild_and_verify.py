"""Finding what is wrong with a read model, and mending it."""

from collections.abc import Callable, Sequence
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from allocation.adapters.journal.checkpoints import Checkpoint, Checkpoints
from allocation.adapters.journal.listener import Waker
from allocation.adapters.postgresql.database import Database
from allocation.adapters.read_models.rebuilds import RebuildSource
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.entrypoints.cli.app import app
from allocation.projections.follower import ProjectionFollower
from allocation.projections.projector import Projector, catch_up
from allocation.projections.rebuild import rebuild, request
from allocation.projections.undo import undo
from allocation.projections.verify import Difference, verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import views

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]


# What is done by hand, which comparison finds it, and whether a row is missing there, unexpected, or both.
DAMAGES = [
    ("DELETE FROM allocations_view WHERE id_commande = 'c-3'", "allocations_view", {True}),
    (
        "INSERT INTO allocations_view (id_commande, sku, réf_lot, quantité, ligne)"
        " VALUES ('c-3', 'LAMPE', 'lot-1', 10, '9')",
        "allocations_view",
        {False},
    ),
    (
        "UPDATE allocations_view SET réf_lot = 'lot-9' WHERE id_commande = 'c-3'",
        "allocations_view",
        {True, False},
    ),
    (
        "UPDATE stock_view SET disponible = disponible + 1 WHERE sku = 'LAMPE'",
        "stock_view",
        {True, False},
    ),
    ("DELETE FROM stock_view WHERE sku = 'TABLE'", "stock_view", {True}),
    ("UPDATE lots_view SET quantité_allouée = 0 WHERE réf = 'lot-1'", "lots_view", {True, False}),
    (
        "UPDATE lots SET quantité_allouée = quantité_allouée - 1 WHERE référence = 'lot-1'",
        "lots: quantité_allouée against the allocated lines",
        {True, False},
    ),
    (
        "DELETE FROM allocations WHERE (sku, rang) = ('LAMPE', 3)",
        "allocations against the journal",
        {True},
    ),
    (
        "UPDATE journal SET quantité = 11 WHERE position = 4",
        "allocations against the journal",
        {True, False},
    ),
    (
        "DELETE FROM journal WHERE type = 'LotCréé' AND sku = 'TABLE'",
        "lots against the journal",
        {True, False},
    ),
    (
        "DELETE FROM journal WHERE type = 'LotCréé' AND sku = 'TABLE'",
        "conservation: a lot's compartments against what came in less what went out, none below zero",
        {True, False},
    ),
    (
        "UPDATE journal SET vers = 'nulle_part' WHERE position = 4",
        "conservation: a lot's compartments against what came in less what went out, none below zero",
        {True, False},
    ),
    (
        "UPDATE journal SET réf_lot = 'lot-2' WHERE type = 'Désalloué' AND position ="
        " (SELECT max(position) FROM journal WHERE type = 'Désalloué')",
        "conservation: all units of a line on one lot, or none",
        {True, False},
    ),
    (
        "UPDATE journal SET quantité = 4 WHERE type = 'Désalloué'",
        "conservation: all units of a line on one lot, or none",
        {True, False},
    ),
]


@pytest.fixture
def followers(database: Database, bus: Bus) -> Sequence[ProjectionFollower]:
    """The read models of a shop that has seen every kind of event."""
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    bus.handle(CréerLot("lot-2", "LAMPE", 30))
    bus.handle(CréerLot("lot-3", "TABLE", 5))
    for n in range(12):
        bus.handle(Allouer(f"c-{n}", "LAMPE", 10))
    bus.handle(Allouer("c-1", "TABLE", 5, "2"))
    bus.handle(Allouer("c-2", "TABLE", 1))
    bus.handle(ModifierQuantitéLot("lot-1", 75))
    return projection_followers(database)


def noms(differences: Sequence[Difference]) -> set[str]:
    return {difference.comparison for difference in differences}


def test_sans_dégât_il_n_y_a_aucune_différence(
    database: Database, followers: Sequence[ProjectionFollower]
) -> None:
    assert list(verify(database, followers)) == []


@pytest.mark.parametrize(("damage", "where", "missing"), DAMAGES)
def test_chaque_dégât_est_trouvé(
    database: Database,
    followers: Sequence[ProjectionFollower],
    sql: Sql,
    damage: str,
    where: str,
    missing: set[bool],
) -> None:
    sql(damage)

    found = [each for each in verify(database, followers) if each.comparison == where]

    assert {each.missing for each in found} == missing


@pytest.mark.parametrize(("damage", "where"), [(damage, where) for damage, where, _ in DAMAGES])
def test_repair_répare_les_vues_et_refuse_de_toucher_au_reste(
    database: Database,
    database_url: str,
    followers: Sequence[ProjectionFollower],
    sql: Sql,
    damage: str,
    where: str,
) -> None:
    sql(damage)

    environment = {"ALLOCATION_DATABASE_URL": database_url}
    repaired = CliRunner().invoke(app, ["verify", "--repair"], env=environment)

    in_a_view = where in {follower.name for follower in followers}
    assert (list(verify(database, followers)) == []) is in_a_view
    assert repaired.exit_code == (0 if in_a_view else 1)
    assert ("not repaired: " in repaired.stderr and where in repaired.stderr) is not in_a_view


def test_la_différence_nomme_la_ligne(
    database: Database, followers: Sequence[ProjectionFollower], sql: Sql
) -> None:
    sql("DELETE FROM allocations_view WHERE id_commande = 'c-3'")

    row = {"id_commande": "c-3", "sku": "LAMPE", "réf_lot": "lot-1", "quantité": 10, "ligne": "1"}
    assert list(verify(database, followers)) == [Difference("allocations_view", missing=True, row=row)]


def test_un_retard_n_est_pas_une_différence_et_verify_ne_l_efface_pas(
    database: Database, followers: Sequence[ProjectionFollower], sql: Sql
) -> None:
    late = bootstrap(database, inline=False)
    assert late.handle(Allouer("c-20", "LAMPE", 1)) == ["lot-1"]
    late.handle(ModifierQuantitéLot("lot-1", 60))
    before = [sql(f"SELECT * FROM {each.name} ORDER BY 1") for each in followers]

    assert list(verify(database, followers)) == []
    assert list(verify(database, followers)) == []

    assert [sql(f"SELECT * FROM {each.name} ORDER BY 1") for each in followers] == before
    assert sql("SELECT count(*) AS n FROM pg_class WHERE relpersistence = 't'") == [{"n": 0}]


@pytest.mark.parametrize("name", ["allocations_view", "lots_view", "stock_view"])
def test_une_vue_détruite_se_reconstruit_à_l_identique(
    database: Database, followers: Sequence[ProjectionFollower], sql: Sql, name: str
) -> None:
    follower = _follower(followers, name)
    columns = ", ".join(follower.projection.columns)
    before = sql(f"SELECT {columns} FROM {name} ORDER BY {columns}")
    sql(f"DELETE FROM {name}")

    rebuilt = rebuild(database, follower)

    assert sql(f"SELECT {columns} FROM {name} ORDER BY {columns}") == before
    assert (rebuilt.phase, rebuilt.fait) == ("done", len(before))
    assert before


def test_une_vue_en_retard_reconstruite_est_à_jour_et_n_applique_rien_deux_fois(
    database: Database, followers: Sequence[ProjectionFollower]
) -> None:
    results = bootstrap(database, inline=False).handle(Allouer("c-20", "LAMPE", 1))
    end = results.position
    assert results == ["lot-1"]
    assert end is not None

    for follower in followers:
        rebuild(database, follower)
    catch_up(followers, end)

    assert list(verify(database, followers)) == []


def test_reconstruire_pendant_que_l_on_alloue_ne_perd_ni_ne_double_rien(
    database: Database, followers: Sequence[ProjectionFollower]
) -> None:
    writer = bootstrap(database, inline=False)
    writer.handle(CréerLot("lot-grand", "LAMPE", 10_000))
    enough = Signal()

    def keep_buying() -> None:
        n = 0
        while not enough.is_set():
            writer.handle(Allouer(f"pendant-{n}", "LAMPE", 1))
            n += 1

    buyer = Thread(target=keep_buying)
    with Projector(followers, Waker(), poll_interval=0.01):
        buyer.start()
        for _ in range(5):
            for follower in followers:
                rebuild(database, follower)
            assert list(verify(database, followers)) == []
        enough.set()
        buyer.join()

    assert list(verify(database, followers)) == []


def test_verify_sur_une_connexion_qui_a_déjà_servi_la_vue_compare_bien_la_copie(
    database: Database, followers: Sequence[ProjectionFollower], bus: Bus, sql: Sql
) -> None:
    """Statements prepared before mean the real table; the copy must hide it from them too.

    PostgreSQL sees to that itself, except where the session has had temporary tables before.
    """
    sql("CREATE TEMP TABLE une_autre ()")
    bus.handle(CréerLot("lot-4", "LAMPE", 100))
    for n in range(8):
        bus.handle(Allouer(f"à-jour-{n}", "LAMPE", 1))
    late = bootstrap(database, inline=False).handle(Allouer("en-retard", "LAMPE", 1))

    assert late == ["lot-4"]
    assert list(verify(database, followers)) == []
    assert views.allocations("en-retard", database) == []


@pytest.mark.parametrize("replace", [rebuild, undo])
def test_une_vue_remplacée_depuis_l_instantané_se_compare_à_un_autre(
    database: Database,
    followers: Sequence[ProjectionFollower],
    monkeypatch: pytest.MonkeyPatch,
    replace: Callable[[Database, ProjectionFollower], object],
) -> None:
    replaced: list[str] = []
    look_at = Checkpoints.look_at

    def seen_before_it_is_replaced(checkpoints: Checkpoints, name: str) -> Checkpoint | None:
        seen = look_at(checkpoints, name)
        if name not in replaced:
            replaced.append(name)
            replace(database, _follower(followers, name))
        return seen

    for follower in followers:
        rebuild(database, follower)
    monkeypatch.setattr(Checkpoints, "look_at", seen_before_it_is_replaced)

    assert list(verify(database, followers)) == []
    assert replaced == [each.name for each in followers]


def _follower(followers: Sequence[ProjectionFollower], name: str) -> ProjectionFollower:
    return next(follower for follower in followers if follower.name == name)


@pytest.mark.parametrize("source", ["model", "journal"])
def test_un_lot_qui_ne_tient_plus_rien_se_vérifie_et_se_reconstruit(
    bus: Bus, database: Database, followers: Sequence[ProjectionFollower], source: RebuildSource
) -> None:
    bus.handle(ModifierQuantitéLot("lot-3", 0))
    bus.handle(ModifierQuantitéLot("lot-1", 0))

    for follower in followers:
        request(database, follower.projection, source=source)
        rebuild(database, follower)

    assert list(verify(database, followers)) == []
    assert views.lot("lot-3", database) is not None
