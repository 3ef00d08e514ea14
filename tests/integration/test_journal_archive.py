"""Old events leave the journal: what is left and the files tell everything, and nothing needed is gone."""

import gzip
import json
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.archive import (
    ArchiveUnreadable,
    JournalArchive,
    JournalWithArchive,
    sha256_of,
)
from allocation.adapters.journal.archiving import ArchiveConflict, ArchiveReport, Holder, JournalArchiver
from allocation.adapters.journal.journal import EventsArchived, PostgreSQLJournal
from allocation.adapters.journal.ledger import COLUMNS, EventRows
from allocation.adapters.journal.rows import RecordedEvent
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé, QuantitéLotModifiée, RuptureDeStock
from allocation.projections.delivery import SqlHandler
from allocation.projections.follower import ProjectionFollower
from allocation.projections.projector import catch_up
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, journal_followers, projection_followers
from allocation.service_layer.messagebus import MessageBus
from allocation.views import history, views
from allocation.views.past_view import HistoireArchivée

Bus = MessageBus[PostgreSQLUnitOfWork]
Sql = Callable[..., list[dict[str, Any]]]
Archive = Callable[..., ArchiveReport]

TYPES = (LotCréé, QuantitéLotModifiée, Alloué, Désalloué, RuptureDeStock)
CHUNK = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(database: Database, folder: Path) -> Archive:
    """Archives what is older than an instant, or everything that may go."""

    def run(before: datetime | None = None, *, into: Path = folder) -> ArchiveReport:
        archiver = JournalArchiver(database, into, chunk=CHUNK)
        return archiver.archive(before or datetime.now(UTC) + timedelta(days=1), lambda done, total: None)

    return run


@pytest.fixture
def shop(bus: Bus) -> Bus:
    """A shop that has seen every kind of event, most of them more than once."""
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    bus.handle(CréerLot("lot-2", "LAMPE", 30, date(2027, 1, 2)))
    bus.handle(CréerLot('lot « é » \\n \\;"', "TABLE", 5))
    for n in range(12):
        bus.handle(Allouer(f"c-{n} \\n \\", "LAMPE", 10))
    bus.handle(Allouer("c-1", "TABLE", 5, "2"))
    bus.handle(Allouer("c-2", "TABLE", 1))
    bus.handle(ModifierQuantitéLot("lot-1", 75))
    bus.handle(CréerLot("lot-4", "TABLE", 3, date(2027, 1, 1)))
    bus.handle(ModifierQuantitéLot("lot-1", 100))
    return bus


def tout(database: Database) -> list[RecordedEvent[Event]]:
    """The whole journal, its archive included, as it is printed."""
    archive, found, after = JournalArchive(), list[RecordedEvent[Event]](), 0
    while True:
        with database.reading() as connection:
            batch = JournalWithArchive(connection, archive).read(after, 5)
        if not batch:
            return found
        found += batch
        after = batch[-1].position


def rejoués(database: Database, *, from_snapshot: bool, size: int = 4) -> list[Event]:
    """The events that a rebuild gets: batch by batch, each in a transaction of its own."""
    archive, found, after = JournalArchive(from_snapshot=from_snapshot), list[Event](), 0
    while True:
        with database.working() as connection, connection.begin():
            journal = JournalWithArchive(connection, archive)
            end = journal.end_of_batch(after, size)
            if end is None:
                return found
            found += [row.event() for row in journal.read_rows(TYPES, after=after, until=end)]
            after = end


def vues(
    database: Database, followers: Sequence[ProjectionFollower], events: Sequence[Event]
) -> list[object]:
    """What the read models hold when they are made of these events alone; nothing of it is kept."""
    with database.working() as connection, connection.begin() as transaction:
        for follower in followers:
            connection.exec_driver_sql(f"TRUNCATE {follower.name}")
            for event in events:
                if type(event) in follower._routes:
                    follower._routes[type(event)]([event], connection)
        rows = contenu(connection, followers)
        transaction.rollback()
    return rows


def contenu(connection: Connection, followers: Sequence[ProjectionFollower]) -> list[object]:
    return [
        sorted(
            map(
                repr,
                connection.exec_driver_sql(f"SELECT {', '.join(each.projection.columns)} FROM {each.name}"),
            )
        )
        for each in followers
    ]


def test_les_fichiers_de_l_archive_ne_sont_lisibles_que_par_leur_propriétaire(
    shop: Bus, archive: Archive, folder: Path
) -> None:
    archive()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_rien_ne_manque_à_ce_qui_est_archivé_puis_relu(
    shop: Bus, database: Database, archive: Archive
) -> None:
    before = tout(database)

    report = archive()

    assert report.events == len(before) - 1
    assert len(report.files) == -(-report.events // CHUNK)
    assert tout(database) == before
    with database.reading() as connection:
        assert PostgreSQLJournal(connection).last_position() == before[-1].position


def test_seul_s_en_va_ce_qui_est_plus_vieux_que_l_instant(
    shop: Bus, database: Database, archive: Archive
) -> None:
    events = tout(database)

    report = archive(events[10].survenu_le)

    assert report.events == 10
    with database.reading() as connection:
        assert PostgreSQLJournal(connection).read(events[9].position, 1) == [events[10]]
    assert archive(events[10].survenu_le) == ArchiveReport(0, (), None, None, None)


@pytest.mark.parametrize("from_snapshot", [False, True])
def test_rejouer_ce_qui_est_archivé_et_le_reste_rend_les_mêmes_vues(
    shop: Bus, database: Database, archive: Archive, *, from_snapshot: bool
) -> None:
    followers = projection_followers(database)
    events = tout(database)
    archive(events[15].survenu_le)
    archive(events[22].survenu_le)
    shop.handle(ModifierQuantitéLot("lot-1", 60))
    with database.reading() as connection:
        expected = contenu(connection, followers)

    assert vues(database, followers, rejoués(database, from_snapshot=from_snapshot)) == expected


@pytest.mark.parametrize("cut", range(1, 25, 3))
def test_un_instantané_vaut_tous_les_événements_d_avant(
    shop: Bus, database: Database, archive: Archive, sql: Sql, cut: int
) -> None:
    """Wherever a reader stands: in the middle of a correction, before a lot, after a line changed lots."""
    followers = projection_followers(database)
    before = tout(database)
    sql("UPDATE subscriptions SET position = :cut", cut=cut)
    assert archive().position == cut
    [first, *_] = rejoués(database, from_snapshot=True)

    then = [each.event for each in before[:cut]]
    snapshot = rejoués(database, from_snapshot=True)[: -(len(before) - cut)]
    assert isinstance(first, LotCréé)
    assert vues(database, followers, snapshot) == vues(database, followers, then)


def test_verify_reste_sans_différence_et_trouve_encore_les_dégâts(
    shop: Bus, database: Database, archive: Archive, sql: Sql
) -> None:
    followers = projection_followers(database)
    archive()
    assert list(verify(database, followers)) == []
    shop.handle(ModifierQuantitéLot("lot-1", 60))
    assert list(verify(database, followers)) == []

    sql("UPDATE lots SET quantité = quantité + 1 WHERE référence = 'lot-2'")
    sql("DELETE FROM allocations WHERE (sku, rang) = ('TABLE', 1)")

    assert {each.comparison for each in verify(database, followers)} >= {
        "lots against the journal",
        "allocations against the journal",
    }


class TestRienDeNécessaireNeDisparaît:
    @pytest.mark.parametrize(
        ("needed", "holder"),
        [
            ("UPDATE projections SET position = 9 WHERE name = 'stock_view'", "projection stock_view"),
            (
                "UPDATE subscriptions SET position = 9 WHERE name = 'publication_allocations'",
                "subscription publication_allocations",
            ),
            (
                "INSERT INTO rebuilds (name, version, source, phase, position, total)"
                " VALUES ('stock_view', 1, 'journal', 'filling', 9, 100)",
                "rebuild of stock_view",
            ),
            (
                "INSERT INTO parked (lecteur, sku, position, erreur)"
                " VALUES ('stock_view', 'LAMPE', 10, 'cassé')",
                "event of LAMPE, parked by stock_view",
            ),
        ],
    )
    def test_et_qui_en_a_besoin_est_nommé(
        self, shop: Bus, archive: Archive, sql: Sql, needed: str, holder: str
    ) -> None:
        sql(needed)

        report = archive()

        assert report.held_back_by == Holder(holder, 9)
        assert report.position == 9
        assert sql("SELECT min(position) AS first FROM journal") == [{"first": 10}]

    def test_même_quand_le_besoin_naît_pendant_l_archivage(
        self, shop: Bus, database: Database, folder: Path, sql: Sql
    ) -> None:
        def rebuild_begins(done: int, total: int) -> None:
            sql(
                "INSERT INTO rebuilds (name, version, source, phase, position, total)"
                " VALUES ('stock_view', 1, 'journal', 'filling', 10, 100) ON CONFLICT DO NOTHING"
            )

        report = JournalArchiver(database, folder, chunk=CHUNK).archive(datetime.now(UTC), rebuild_begins)

        assert (report.position, report.held_back_by) == (10, Holder("rebuild of stock_view", 10))
        assert list(verify(database, projection_followers(database))) == []

    def test_un_lecteur_qui_commence_au_début_échoue_au_lieu_de_sauter_ce_qui_est_archivé(
        self, shop: Bus, database: Database, archive: Archive, sql: Sql
    ) -> None:
        archive()
        sql("UPDATE projections SET position = 0 WHERE name = 'stock_view'")
        [stock] = [each for each in projection_followers(database) if each.name == "stock_view"]

        with pytest.raises(EventsArchived, match="after position 0 are archived"):
            stock.advance(wait=True)

    def test_ce_qui_est_archivé_entre_deux_lectures_d_un_lot_n_est_pas_sauté(
        self, shop: Bus, database: Database, archive: Archive
    ) -> None:
        with database.working() as connection, connection.begin():
            journal = PostgreSQLJournal(connection)
            end = journal.end_of_batch(0, 5)
            archive()

            assert end == 5
            with pytest.raises(EventsArchived):
                journal.read_rows(TYPES, after=0, until=end)

    def test_ce_qui_est_archivé_avant_qu_une_vue_ne_le_prenne_n_est_pas_sauté(
        self, shop: Bus, database: Database, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [stock] = [each for each in projection_followers(database) if each.name == "stock_view"]
        over = SqlHandler.over

        def over_what_is_left(handler: SqlHandler, events: EventRows, connection: Connection) -> None:
            archive()
            over(handler, events, connection)

        monkeypatch.setattr(SqlHandler, "over", over_what_is_left)
        with database.working() as connection, connection.begin(), pytest.raises(EventsArchived):
            stock.follow(connection, PostgreSQLJournal(connection), 0, failures=0)


def without_columns(file: Path) -> None:
    """Write the file as version 0.2.0 did: what each event moves stands in its fields alone."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    assert all(set(COLUMNS) <= entry.keys() for entry in entries)
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        for entry in entries:
            lines.write(json.dumps({k: v for k, v in entry.items() if k not in COLUMNS}) + "\n")


class TestFichiers:
    def test_une_archive_de_la_version_0_2_0_se_lit_encore(
        self, shop: Bus, database: Database, archive: Archive, sql: Sql
    ) -> None:
        before = tout(database)
        archive()
        for register in ("journal_snapshots", "journal_archives"):
            for [path] in [row.values() for row in sql(f"SELECT chemin FROM {register}")]:
                without_columns(Path(path))
                sql(
                    f"UPDATE {register} SET sha256 = :sha256 WHERE chemin = :path",
                    sha256=sha256_of(Path(path)),
                    path=path,
                )

        assert tout(database) == before
        assert list(verify(database, projection_followers(database))) == []

    def test_un_arrêt_entre_le_fichier_et_la_validation_ne_perd_ni_ne_double_rien(
        self, shop: Bus, database: Database, archive: Archive, folder: Path, sql: Sql
    ) -> None:
        before = tout(database)
        sql(
            "CREATE FUNCTION tomber() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'parti' USING ERRCODE = '57P01'; END $$"
        )
        sql("CREATE TRIGGER tomber BEFORE DELETE ON journal FOR EACH STATEMENT EXECUTE FUNCTION tomber()")
        with pytest.raises(Exception, match="parti"):
            archive()
        [stray] = folder.glob("journal-*")
        assert tout(database) == before
        assert list(verify(database, projection_followers(database))) == []
        sql("DROP TRIGGER tomber ON journal")

        report = archive()

        assert report.files[0] == stray
        assert tout(database) == before
        assert list(verify(database, projection_followers(database))) == []

    def test_un_fichier_porte_ses_positions_et_se_lit_sans_ce_programme(
        self, shop: Bus, archive: Archive
    ) -> None:
        report = archive()

        assert report.files[0].name == "journal-000000000001-000000000007.jsonl.gz"
        assert report.snapshot is not None
        assert report.snapshot.name == f"snapshot-{report.position:012}.jsonl.gz"
        lines = gzip.decompress(report.files[0].read_bytes()).decode().splitlines()
        assert len(lines) == 7
        assert lines[0].startswith('{"position":1,')
        assert "lot « é »" in lines[2]
        assert not list(report.files[0].parent.glob(".*"))

    @pytest.mark.parametrize("damage", ["missing", "changed"])
    def test_un_fichier_qui_manque_ou_qui_est_abîmé_est_nommé(
        self, shop: Bus, database: Database, archive: Archive, damage: str
    ) -> None:
        report = archive()
        for path in (report.files[1], report.snapshot):
            assert path is not None
            content = path.read_bytes()
            path.unlink()
            if damage == "changed":
                path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

        with pytest.raises(ArchiveUnreadable, match=report.files[1].name):
            tout(database)
        with pytest.raises(ArchiveUnreadable, match="snapshot-"):
            list(verify(database, projection_followers(database)))

    def test_le_fichier_d_une_autre_base_n_est_jamais_écrasé(
        self, shop: Bus, database: Database, archive: Archive, folder: Path
    ) -> None:
        before = tout(database)
        folder.mkdir()
        other = folder / "journal-000000000001-000000000007.jsonl.gz"
        other.write_bytes(b"celui d'une autre")

        with pytest.raises(ArchiveConflict, match="holds something else"):
            archive()

        assert other.read_bytes() == b"celui d'une autre"
        assert tout(database) == before
        assert list(verify(database, projection_followers(database))) == []


def test_l_état_d_un_instant_se_dit_encore_quand_tout_ce_qui_le_précède_est_archivé(
    shop: Bus, database: Database, archive: Archive
) -> None:
    stock = views.stock("LAMPE", database)
    lines = views.allocations("c-1 \\n \\", database)
    at = datetime.now(UTC)
    shop.handle(ModifierQuantitéLot("lot-1", 5))
    archive(at)

    assert views.stock("LAMPE", database) != stock
    assert history.stock_at("LAMPE", at, database) == stock
    assert history.allocations_at("c-1 \\n \\", at, database) == lines
    with pytest.raises(HistoireArchivée):
        history.stock_at("LAMPE", at - timedelta(days=1), database)


def test_archiver_pendant_que_l_on_écrit_et_que_les_vues_suivent_ne_perd_rien(
    database: Database, archive: Archive
) -> None:
    bus = bootstrap(database, inline=False)
    bootstrap(database)
    followers = journal_followers(database, Settings())
    bus.handle(CréerLot("lot-0", "LAMPE", 1_000_000))
    enough = Signal()
    chance = random.Random(4)
    threads = [
        Thread(target=_until(enough, each))
        for each in (
            _buying(bus, "a"),
            _buying(bus, "b"),
            _correcting(bus, chance),
            _following(database, followers),
        )
    ]
    for thread in threads:
        thread.start()
    moved = 0
    while moved < 100:
        moved += archive().events
    enough.set()
    for thread in threads:
        thread.join()

    with database.reading() as connection:
        end = PostgreSQLJournal(connection).last_position()
    catch_up(followers, end)
    projections = projection_followers(database)
    assert list(verify(database, projections)) == []
    with database.reading() as connection:
        expected = contenu(connection, projections)
    assert len({each.position for each in tout(database)}) == len(tout(database))
    for from_snapshot in (False, True):
        assert (
            vues(database, projections, rejoués(database, from_snapshot=from_snapshot, size=50)) == expected
        )


def _until(enough: Signal, steps: Iterator[None]) -> Callable[[], None]:
    def run() -> None:
        for _ in steps:
            if enough.is_set():
                return

    return run


def _buying(bus: Bus, name: str) -> Iterator[None]:
    for n in range(1_000_000):
        bus.handle(Allouer(f"{name}-{n}", "LAMPE", 1))
        yield


def _correcting(bus: Bus, chance: random.Random) -> Iterator[None]:
    for n in range(1_000_000):
        for sku in ("LAMPE", "TABLE"):
            bus.handle(CréerLot(f"lot-{n + 1}", sku, chance.randint(1, 9)))
            lot = f"lot-{chance.randint(1, n + 1)}"
            bus.handle(ModifierQuantitéLot(lot, chance.randint(1, 9), sku))
        yield


def _following(database: Database, followers: Sequence[Any]) -> Iterator[None]:
    while True:
        for follower in followers:
            follower.advance(wait=True)
        yield
