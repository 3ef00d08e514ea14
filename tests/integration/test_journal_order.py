"""Position order is the order in which transactions become visible, whatever writers do to each other."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event as Signal
from threading import Thread

from sqlalchemy import Connection, insert, text
from tests.waiting import wait_until_blocked

from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.tables import produits
from allocation.domain.events import Alloué, Event


class Lecteur:
    """Remembers one position, as a projection does, and reads the events after it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.position = 0
        self.lus: list[Event] = []

    def lire(self) -> list[Event]:
        with self._database.reading() as connection:
            batch = PostgreSQLJournal(connection).read(self.position, 1000)
        events = [recorded.event for recorded in batch]
        if batch:
            self.position = batch[-1].position
        self.lus += events
        return events


@contextmanager
def écrivain(database: Database) -> Iterator[Connection]:
    """A transaction of its own."""
    with database.working() as connection, connection.begin():
        yield connection


def événement(nom: str) -> Alloué:
    return Alloué(nom, "LAMPE", 1, "lot-1")


def test_un_commit_tardif_n_est_jamais_sauté(database: Database) -> None:
    """The first to append takes its time to commit: the second waits, and so does its position."""
    lecteur = Lecteur(database)
    with écrivain(database) as premier:
        PostgreSQLJournal(premier).append([événement("premier")])
        second = Thread(target=_append, args=[database, événement("second")])
        second.start()
        wait_until_blocked(database)
        assert lecteur.lire() == []
    second.join()

    assert lecteur.lire() == [événement("premier"), événement("second")]


def test_le_premier_à_écrire_qui_valide_en_dernier_vient_en_dernier(database: Database) -> None:
    """Positions are given at the end of transactions, not at their beginning."""
    lecteur = Lecteur(database)
    with écrivain(database) as premier:
        _write(premier, "premier")
        with écrivain(database) as second:
            _write(second, "second")
            PostgreSQLJournal(second).append([événement("second")])
        après_le_second = lecteur.lire()
        PostgreSQLJournal(premier).append([événement("premier")])
    après_le_premier = lecteur.lire()

    assert (après_le_second, après_le_premier) == ([événement("second")], [événement("premier")])


def test_sans_le_verrou_un_lecteur_perdrait_un_événement(database: Database) -> None:
    """Why the lock is there: the same interleaving with plain inserts loses the first writer's event."""
    lecteur = Lecteur(database)
    with écrivain(database) as premier:
        _append_without_lock(premier, "premier")
        with écrivain(database) as second:
            _append_without_lock(second, "second")
        assert lecteur.lire() == [événement("second")]

    assert lecteur.lire() == []


def test_un_écrivain_qui_renonce_ne_laisse_rien_et_ne_retient_personne(database: Database) -> None:
    with database.working() as connection:
        PostgreSQLJournal(connection).append([événement("renoncé")])
        connection.rollback()
    _append(database, événement("second"))

    lecteur = Lecteur(database)
    assert lecteur.lire() == [événement("second")]


def test_un_lecteur_qui_suit_dix_écrivains_voit_chaque_événement_une_fois_et_dans_l_ordre(
    database: Database,
) -> None:
    lecteur, fini = Lecteur(database), Signal()

    def suivre() -> None:
        while not fini.is_set():
            lecteur.lire()
        lecteur.lire()

    suiveur = Thread(target=suivre)
    suiveur.start()
    with ThreadPoolExecutor(10) as écrivains:
        list(écrivains.map(lambda n: _write_several(database, n), range(10)))
    fini.set()
    suiveur.join()

    with database.reading() as connection:
        journal = [recorded.event for recorded in PostgreSQLJournal(connection).read(0, 10_000)]
    assert lecteur.lus == journal
    assert {event.id_commande for event in lecteur.lus if isinstance(event, Alloué)} == {
        f"{n}-{i}" for n in range(10) for i in range(30)
    }


def _append(database: Database, event: Event) -> None:
    with écrivain(database) as connection:
        PostgreSQLJournal(connection).append([event])


def _write_several(database: Database, number: int) -> None:
    """Thirty transactions of one to three events; some are rolled back first."""
    chance = random.Random(number)
    names = [f"{number}-{i}" for i in range(30)]
    while names:
        some = [événement(names.pop()) for _ in range(min(len(names), chance.randint(1, 3)))]
        with database.working() as connection:
            if chance.random() < 0.3:
                PostgreSQLJournal(connection).append(some)
                connection.rollback()
            PostgreSQLJournal(connection).append(some)
            connection.commit()


def _write(connection: Connection, sku: str) -> None:
    """A row of the write model, as a unit of work flushes it before it appends to the journal."""
    connection.execute(insert(produits), {"sku": sku, "version": 1, "dernier_rang": 0})


def _append_without_lock(connection: Connection, nom: str) -> None:
    connection.execute(
        text(
            "INSERT INTO journal (id, type, version, sku, data)"
            " VALUES (gen_random_uuid(), 'Alloué', 1, 'LAMPE', CAST(:data AS jsonb))"
        ),
        {"data": as_json(vars(événement(nom)))},
    )
