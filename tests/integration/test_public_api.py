"""Every public name, used as a program of one's own uses it.

The type checker holds what each takes and gives (`assert_type`), the run that it is so. Who changes a type
here changes it for every user.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, assert_type

import pytest
from flask import Flask
from sqlalchemy import Column, Connection, MetaData, String, Table

from allocation import __version__
from allocation.adapters import (
    Database,
    Locked,
    OutcomeUnknown,
    RightMissing,
    SchemaTooNew,
    Settings,
    StorageUnavailable,
    UnsuitableServer,
    ValueRefused,
    VersionConflict,
    migrate,
)
from allocation.adapters.embedded import EmbeddedPostgreSQL, EmbeddedServerTrouble, embedded_postgresql
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import (
    AllocationError,
    LigneModifiée,
    LotExistant,
    LotInconnu,
    Refus,
    RéférenceAmbiguë,
    SkuInconnu,
    StockInsuffisant,
    ValeurInvalide,
)
from allocation.domain.events import (
    Alloué,
    Désalloué,
    Event,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.domain.model import (
    Affectation,
    CléLigne,
    LigneDeCommande,
    Lot,
    Placement,
    Plan,
    Politique,
    Produit,
    Raison,
    Rupture,
    entrepôt_d_abord,
)
from allocation.entrypoints.flask_app import create_app
from allocation.projections import (
    REACTION,
    EventHandler,
    Projection,
    RecordedEvent,
    SqlHandler,
    Subscription,
    delivered,
    in_sql,
)
from allocation.service_layer import (
    AbstractUnitOfWork,
    GaveUp,
    MessageBus,
    Outcome,
    QueueFull,
    Results,
    Réallocation,
)
from allocation.service_layer.bootstrap import EVENT_HANDLERS, bootstrap
from allocation.testing import (
    FakeJournal,
    FakeNotifications,
    FakeOriginalPositions,
    FakeRepository,
    FakeStore,
    FakeUnitOfWork,
    in_memory_bus,
)
from allocation.views import (
    HistoireArchivée,
    History,
    InstantFutur,
    JetonInconnu,
    JournalEnAvance,
    NotFresh,
    ProjectionPaused,
    ReadSource,
    TooManyFallBacks,
    TooManyWaiting,
    ViewLate,
    allocations,
    allocations_at,
    disponibilités,
    lot,
    order_history,
    stock,
    stock_at,
    stock_history,
    stock_page,
)

Row = dict[str, Any]

DEMAIN = date(2027, 1, 2)


@pytest.fixture
def bus(database: Database) -> MessageBus[Any]:
    bus = bootstrap(database, settings=Settings(), inline=True)
    bus.handle(CréerLot("lot-1", "LAMPE", 10, DEMAIN))
    bus.handle(Allouer("c-1", "LAMPE", 3, ligne="1"))
    return bus


def test_une_base_se_prépare_et_se_ferme(database_url: str) -> None:
    with Database(database_url, schema=None, read_url=None, pool_size=2) as database:
        migrate(database)
        assert_type(database.fetch("SELECT 1 AS n", {}), list[Row])
        with database.reading() as connection:
            assert_type(connection, Connection)
        source: ReadSource = database
        assert allocations("c-1", source) == []


def test_le_serveur_embarqué_a_une_adresse() -> None:
    def url(data_dir: Path | str) -> str:
        with embedded_postgresql(data_dir, connections=20) as server:
            return assert_type(server, EmbeddedPostgreSQL).url

    with pytest.raises(EmbeddedServerTrouble):
        url("/dev/null/data")


def test_le_bus_dit_ce_qu_une_commande_a_donné(bus: MessageBus[Any]) -> None:
    commands: list[Command] = [Allouer("c-2", "LAMPE", 4), ModifierQuantitéLot("lot-1", 8, sku="LAMPE")]

    [first, second] = [assert_type(bus.handle(command), Results) for command in commands]

    assert first == ["lot-1"]
    assert assert_type(first.events, tuple[Event, ...]) == (Alloué("c-2", "LAMPE", 4, "lot-1"),)
    assert assert_type(second.position, int | None) == 4
    assert str(second.token).startswith("4-")
    assert assert_type(first.raise_for_refusal(), Results) is first
    assert assert_type(first.outcome, Outcome) is Outcome.DONE


def test_ce_qui_est_inscrit_se_rend_fût_ce_un_refus(bus: MessageBus[Any]) -> None:
    refused = bus.handle(Allouer("c-2", "LAMPE", 8))
    bus.handle(Allouer("c-3", "LAMPE", 7))
    corrected = bus.handle(ModifierQuantitéLot("lot-1", 9))

    assert refused == [None]
    assert isinstance(assert_type(refused.refusal, Refus | None), StockInsuffisant)
    assert assert_type(corrected.réallocations, list[Réallocation]) == [
        Réallocation(LigneDeCommande("c-3", "LAMPE", 7), réf_lot=None)
    ]


def test_les_vues_répondent(bus: MessageBus[Any]) -> None:
    uow = bus.uow

    assert assert_type(allocations("c-1", uow, after=2, wait_s=1.0), list[Row])
    assert assert_type(lot("lot-1", uow, sku="LAMPE", after=2, wait_s=1.0), Row | None)
    assert assert_type(stock("LAMPE", uow, after=2, wait_s=1.0), Row | None)
    assert assert_type(disponibilités(["LAMPE"], uow, after=2, wait_s=1.0), list[Row])
    assert assert_type(stock_page("", 10, uow, after=2, wait_s=1.0), list[Row])


def test_le_passé_se_demande(bus: MessageBus[Any]) -> None:
    uow = bus.uow
    history = assert_type(stock_history("LAMPE", 0, 10, uow), History | None)
    of_order = assert_type(order_history("c-1", 0, 10, uow), History | None)
    assert history is not None
    assert of_order is not None
    at = history[-1]["survenu_le"]

    assert (len(history), len(of_order)) == (2, 1)
    assert assert_type(history.horizon, datetime | None) is None
    assert assert_type(stock_at("LAMPE", at, uow, wait_s=1.0), Row | None) == stock("LAMPE", uow)
    assert assert_type(allocations_at("c-1", at, uow, wait_s=1.0), list[Row]) == allocations("c-1", uow)


def test_un_refus_porte_ses_faits(bus: MessageBus[Any]) -> None:
    def refusal(command: Command) -> Refus:
        with pytest.raises(Refus) as raised:
            bus.handle(command)
        return raised.value

    assert _facts(refusal(Allouer("c-1", "TABLE", 1))) == "TABLE"
    assert _facts(refusal(ModifierQuantitéLot("lot-9", 1))) == "lot-9"
    assert _facts(refusal(CréerLot("lot-1", "LAMPE", 1))) == ("lot-1", "LAMPE")
    assert _facts(refusal(Allouer("c-1", "LAMPE", 4))) == ("c-1", "LAMPE", "1", 3, 4)
    bus.handle(CréerLot("lot-1", "TABLE", 1))
    assert _facts(refusal(ModifierQuantitéLot("lot-1", 1))) == ("lot-1", ("LAMPE", "TABLE"))
    with pytest.raises(ValeurInvalide) as invalid:
        Allouer("", "LAMPE", 1)
    assert _facts(invalid.value) == "id_commande"


def _facts(refusal: Refus) -> object:  # noqa: PLR0911 - one for each refusal
    match refusal:
        case SkuInconnu():
            return assert_type(refusal.sku, str)
        case LotInconnu():
            return assert_type(refusal.réf_lot, str)
        case LotExistant():
            return assert_type((refusal.réf_lot, refusal.sku), tuple[str, str])
        case RéférenceAmbiguë():
            return assert_type((refusal.réf_lot, refusal.skus), tuple[str, tuple[str, ...]])
        case LigneModifiée():
            line = assert_type((refusal.id_commande, refusal.sku, refusal.ligne), tuple[str, str, str])
            return *line, *assert_type((refusal.quantité_connue, refusal.quantité_demandée), tuple[int, int])
        case ValeurInvalide():
            return assert_type(refusal.champ, str)
        case _:
            return None


@pytest.mark.parametrize(
    ("particular", "general"),
    [
        (Locked, StorageUnavailable),
        (OutcomeUnknown, StorageUnavailable),
        (RightMissing, UnsuitableServer),
        (ValueRefused, Refus),
        (Refus, AllocationError),
        (StorageUnavailable, AllocationError),
        (ViewLate, NotFresh),
        (ProjectionPaused, NotFresh),
    ],
)
def test_qui_attrape_le_général_attrape_le_particulier(
    particular: type[Exception], general: type[Exception]
) -> None:
    assert issubclass(particular, general)


@pytest.mark.parametrize(
    "trouble",
    [GaveUp, QueueFull, SchemaTooNew, TooManyFallBacks, TooManyWaiting, VersionConflict],
)
def test_une_panne_n_est_pas_un_refus_du_domaine(trouble: type[Exception]) -> None:
    assert not issubclass(trouble, Refus)


def test_une_vue_qui_ne_sait_pas_encore_dit_où_elle_en_est(bus: MessageBus[Any]) -> None:
    with pytest.raises(JetonInconnu) as unknown:
        allocations("c-1", bus.uow, after=99)
    with pytest.raises(InstantFutur) as future:
        stock_at("LAMPE", datetime(2999, 1, 1, tzinfo=UTC), bus.uow, wait_s=0)

    assert assert_type(unknown.value.jeton, str) == "99"
    assert assert_type(future.value.instant, datetime).year == 2999


def _where(late: NotFresh | HistoireArchivée | JournalEnAvance) -> object:
    if isinstance(late, HistoireArchivée):
        return assert_type(late.horizon, datetime)
    if isinstance(late, JournalEnAvance):
        return assert_type(late.suivant, datetime)
    return assert_type((late.projection, late.position, late.position_attendue), tuple[str, int, int])


def test_un_retard_dit_de_combien() -> None:
    late = ViewLate(projection="stock_view", position=1, position_attendue=2)
    paused = ProjectionPaused(projection="stock_view", position=1, position_attendue=2, raison="x")

    assert _where(late) == _where(paused) == ("stock_view", 1, 2)


def test_un_gestionnaire_se_déclare_avec_sa_façon_d_être_servi() -> None:
    view = Projection(Table("promises", MetaData(), Column("sku", String)), truth=None, version=2)
    calls = Subscription("calls", batch=10, outside=True, quiet_s=1.0)
    seen: list[object] = []

    @delivered(by=view)
    def project(events: Sequence[Alloué | Désalloué], connection: Connection) -> None:
        seen.extend(events)

    @delivered(by=calls)
    def call(batch: Sequence[RecordedEvent[RuptureDeStock]], database: Database) -> None:
        seen.extend((each.position, each.survenu_le, each.id, each.event.sku, each.cause) for each in batch)

    @delivered(by=REACTION)
    def react(event: LotCréé | QuantitéLotModifiée, uow: AbstractUnitOfWork) -> None:
        with uow:
            seen.append(uow.produits.get(event.sku))
            uow.commit()

    @in_sql(by=view)
    def remember(events: str) -> str:
        return f"INSERT INTO promises SELECT sku FROM {events} ON CONFLICT DO NOTHING"

    in_one_statement: SqlHandler = remember
    handlers: list[EventHandler[..., Any]] = [project, call, react, in_one_statement]
    react(LotCréé("lot-1", "LAMPE", 10), FakeUnitOfWork())

    assert [handler.delivery for handler in handlers] == [view, calls, REACTION, view]
    assert seen == [None]
    assert EVENT_HANDLERS.keys() >= {Alloué, Désalloué}


def test_le_modèle_décide_sans_base() -> None:
    policy: Politique = entrepôt_d_abord
    produit = Produit("LAMPE", [Lot("lot-1", "LAMPE", 10, DEMAIN)], politique=policy)
    ligne = LigneDeCommande("c-1", "LAMPE", 10)
    clé: CléLigne = ligne.clé

    assert assert_type(produit.allouer(ligne), str | None) == "lot-1"
    assert assert_type(produit.placements[clé], Placement).réf_lot == "lot-1"
    assert produit.allouer(LigneDeCommande("c-2", "LAMPE", 1)) is None
    assert assert_type(produit.ruptures["c-2", "1"], Rupture).event == RuptureDeStock("c-2", "LAMPE", 1, 0)
    assert assert_type(produit.lot("lot-1"), Lot | None) is produit.lots[0]


def test_le_modèle_dit_ce_qu_il_ferait_et_pourquoi() -> None:
    produit = Produit("LAMPE", [Lot("lot-1", "LAMPE", 2), Lot("lot-2", "LAMPE", 10, DEMAIN)])

    plan = assert_type(produit.planifier(LigneDeCommande("c-1", "LAMPE", 3)), Plan)
    produit.appliquer(plan)

    assert assert_type(plan.affectations, tuple[Affectation, ...]) == (Affectation("lot-2", 3),)
    assert assert_type(plan.écartés, Mapping[str, Raison]) == {"lot-1": Raison.INSUFFISANT}
    short = produit.planifier(LigneDeCommande("c-2", "LAMPE", 8))
    assert assert_type(short.manque, int) == 8
    refus = assert_type(short.refus, StockInsuffisant | None)
    assert refus is not None
    asked = assert_type((refus.id_commande, refus.sku, refus.ligne), tuple[str, str, str])
    assert asked == ("c-2", "LAMPE", "1")
    assert assert_type((refus.quantité_demandée, refus.quantité_disponible), tuple[int, int]) == (8, 7)


def test_les_faux_remplacent_la_base_dans_les_tests() -> None:
    store = FakeStore()
    bus = assert_type(in_memory_bus(store), MessageBus[FakeUnitOfWork])
    bus.handle(CréerLot("lot-1", "LAMPE", 10))

    with bus.uow as uow:
        assert assert_type(uow.produits, FakeRepository).get_par_réf_lot("lot-1") is not None
    assert assert_type(store.journal, FakeJournal).last_position() == 1
    assert FakeOriginalPositions(store).end() == 1
    assert FakeNotifications().sent == []


def test_l_application_se_monte_sur_un_bus(
    bus: MessageBus[Any], database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", database_url)
    from allocation.entrypoints.flask_app import app  # noqa: PLC0415 - it is built when it is imported

    mounted = assert_type(create_app(bus, database), Flask)

    assert mounted.test_client().get("/allocations/c-1").status_code == 200
    # It is built once a process, so it may be on another test's database.
    assert isinstance(assert_type(app, Flask), Flask)
    assert __version__[0].isdigit()
