"""What trouble with the database is called, and what is not trouble."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.waiting import eventually

from allocation.adapters.postgresql import pools
from allocation.adapters.postgresql.database import (
    Database,
    Locked,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
)

Sql = Callable[..., list[dict[str, Any]]]

OWN_PID = "SELECT pg_backend_pid()"

# As of a lost connection, a server that only reads, a locked-out role, a full disk, too many connections, an
# object in use, an administrator's hand, a failing device.
AWAY = ["08006", "25006", "28000", "42501", "53100", "53300", "55006", "57014", "57P01", "58030"]

THE_QUERY_RUNS = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"


def raising(state: str) -> str:
    """A statement that fails with this SQLSTATE."""
    return f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = '{state}'; END $$"


@pytest.fixture
def asked_to_end(database: Database) -> Iterator[None]:
    """The process is asked to end, as SIGTERM would ask it, once the query of the test runs."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    def ask() -> None:
        with database.reading() as connection:
            eventually(lambda: connection.scalar(text(THE_QUERY_RUNS)))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, end)
    asker = threading.Thread(target=ask)
    asker.start()
    yield
    asker.join()
    signal.signal(signal.SIGUSR1, before)


def test_une_adresse_où_personne_ne_répond_est_une_indisponibilité(free_port: int) -> None:
    away = Database(f"postgresql://127.0.0.1:{free_port}/absente")

    for connected in (away.writing, away.reading, away.working):
        with pytest.raises(StorageUnavailable), connected():
            pass
    with pytest.raises(StorageUnavailable):
        away.fetch("SELECT 1", {})
    with pytest.raises(StorageUnavailable):
        away.fetch_values("SELECT $1", "")


def test_un_pool_épuisé_est_une_indisponibilité(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "POOL_TIMEOUT_S", 0.01)

    with Database(database_url, pool_size=2) as small, ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(small.writing())
        with pytest.raises(StorageUnavailable, match="no connection became free in time"), small.writing():
            pass


def test_une_connexion_coupée_est_une_indisponibilité_et_la_suivante_est_neuve(database: Database) -> None:
    with pytest.raises(StorageUnavailable), database.writing() as connection:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with database.writing() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_une_lecture_survit_aux_connexions_coupées_du_pool(database: Database) -> None:
    backend = "SELECT pg_backend_pid()::text AS pid, %(word)s::text AS word"
    value_of_backend = "SELECT pg_backend_pid()::text || $1"

    before = {database.fetch(backend, {"word": ""})[0]["pid"]}
    _end_backends(before, database)
    after = {database.fetch(backend, {"word": ""})[0]["pid"]}
    _end_backends(after, database)
    [value] = database.fetch_values(value_of_backend, "é")

    assert value is not None
    assert not before & after
    assert value.decode() not in {f"{pid}é" for pid in before | after}
    assert value.decode().endswith("é")


@pytest.mark.parametrize("kind", ["writing", "reading", "following", "working"])
def test_une_connexion_rendue_pendant_que_le_pool_ferme_se_ferme_aussi(
    database: Database, kind: str, sql: Sql
) -> None:
    pools = [database._writes, database._reads, database._followers, database._background]
    for pool in pools:
        event.listen(pool, "checkin", lambda *_: database.close(), once=True)

    with getattr(database, kind)() as connection:
        pid = connection.info.backend_pid if kind == "writing" else connection.scalar(text(OWN_PID))

    connected = f"SELECT pid FROM pg_stat_activity WHERE pid = {pid}"
    eventually(lambda: sql(connected) == [])


def test_une_connexion_perdue_du_pool_d_avant_ne_renouvelle_pas_le_suivant(database: Database) -> None:
    with database.writing() as lost:
        database.close()
        with database.writing() as kept:
            pid = kept.info.backend_pid
        lost.close()

    with database.writing() as connection:
        assert connection.info.backend_pid == pid


def _end_backends(pids: Iterable[str], database: Database) -> None:
    """End these connections, and wait until they have ended."""
    terminate = text(
        "SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM unnest(CAST(:pids AS int[])) AS pid"
    )
    with database.working() as connection:
        assert connection.scalar(terminate, {"pids": [int(pid) for pid in pids]})


def test_les_valeurs_sont_celles_que_postgresql_écrit(database: Database) -> None:
    assert database.fetch_values("SELECT to_json($1::text), 7", 'é"') == ['"é\\""'.encode(), b"7"]
    assert database.fetch_values("SELECT NULLIF($1::text, '')", "") == [None]
    assert database.fetch_values("SELECT 1 WHERE $1::text = 'x'", "") == []


def test_une_valeur_mal_demandée_est_une_faute_de_programmation(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn):
        database.fetch_values("SELECT inconnue WHERE $1::text = ''", "")


@pytest.mark.parametrize("state", ["40001", "40P01", "23505", "23502"])
def test_un_autre_écrivain_plus_rapide_est_un_conflit(database: Database, state: str) -> None:
    with pytest.raises(VersionConflict), database.writing() as connection:
        connection.execute(raising(state))


@pytest.mark.parametrize("state", AWAY)
def test_une_base_absente_le_dit_à_qui_lit_comme_à_qui_écrit(database: Database, state: str) -> None:
    with pytest.raises(StorageUnavailable), database.writing() as connection:
        connection.execute(raising(state))
    for connected in (database.reading, database.following, database.working):
        with connected() as connection, pytest.raises(StorageUnavailable):
            connection.exec_driver_sql(raising(state))
    with pytest.raises(StorageUnavailable):
        database.fetch(raising(state), {})


@pytest.mark.parametrize("state", ["22001", "22003", "23503", "23514", "54000", "54001"])
def test_ce_que_la_base_refuse_d_enregistrer_est_un_refus(database: Database, state: str) -> None:
    with pytest.raises(ValueRefused), database.writing() as connection:
        connection.execute(raising(state))


@pytest.mark.parametrize("state", ["22001", "23514", "54000"])
def test_ce_qu_un_lecteur_ne_peut_enregistrer_n_est_pas_une_indisponibilité(
    database: Database, state: str
) -> None:
    """It would try again for ever; as its handler's error, it is parked."""
    with database.following() as connection, pytest.raises(DBAPIError, match=state):
        connection.exec_driver_sql(raising(state))


def test_un_verrou_qui_ne_vient_pas_n_est_pas_n_importe_quelle_indisponibilité(database: Database) -> None:
    with pytest.raises(Locked), database.writing() as connection:
        connection.execute(raising("55P03"))


def test_une_base_qui_ne_fait_que_lire_est_une_indisponibilité(database: Database) -> None:
    with pytest.raises(StorageUnavailable), database.writing() as connection:
        connection.execute("BEGIN READ ONLY; DELETE FROM lots")


def test_une_ligne_en_double_dans_une_vue_n_est_pas_un_conflit_mais_une_erreur(database: Database) -> None:
    """A projection that meets it must stop, not try again for ever."""
    with database.working() as connection, pytest.raises(IntegrityError):
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '23505'; END $$"))


def test_une_faute_de_programmation_reste_ce_qu_elle_est(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn), database.writing() as connection:
        connection.execute("SELECT rien_de_tel")


def test_les_lectures_ne_peuvent_rien_écrire(database: Database) -> None:
    with database.reading() as connection, pytest.raises(Exception, match="read-only transaction"):
        connection.execute(text("DELETE FROM journal"))


@pytest.mark.usefixtures("asked_to_end")
def test_un_arrêt_demandé_pendant_une_requête_n_est_pas_pris_pour_une_panne(database: Database) -> None:
    with pytest.raises(SystemExit), database.reading() as connection:
        connection.execute(text("SELECT pg_sleep(30)"))
