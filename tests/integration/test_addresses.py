"""Databases found by every form of address that libpq takes, with everything done that a shop does."""

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from tests.postgresql_server import Server
from tests.standby import new_standby

from allocation.adapters.journal.journal import CHANNEL
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.schema import migrate
from allocation.domain.commands import CréerLot
from allocation.projections.verify import verify
from allocation.service_layer.bootstrap import bootstrap, projection_followers

ODD = "é /?#[]@:%&+'\" shop"


def _works(address: str) -> None:
    """Everything is done once: migrating, writing, being told of it, following, reading, and comparing."""
    with Database(address) as database:
        migrate(database)
        with database.sessions.listen(CHANNEL) as listener:
            bootstrap(database).handle(CréerLot("lot-1", "LAMPE", 10))
            assert list(listener.notifies(timeout=10, stop_after=1))
        assert database.fetch("SELECT en_stock FROM stock_view", {}) == [{"en_stock": 10}]
        assert list(verify(database, projection_followers(database))) == []


def _socket_and_name(database_url: str) -> tuple[str, str]:
    info = conninfo_to_dict(database_url)
    return str(info["host"]), str(info["dbname"])


def test_une_url_dont_l_hôte_est_un_répertoire_encodé(database_url: str) -> None:
    socket, name = _socket_and_name(database_url)

    _works(f"postgres://postgres@{quote(socket, safe='')}/{name}")


def test_des_paramètres_nommés_sans_url(database_url: str) -> None:
    socket, name = _socket_and_name(database_url)

    _works(f"host='{socket}' user=postgres dbname={name}")


def test_un_service_et_un_fichier_de_mots_de_passe(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, name = _socket_and_name(database_url)
    services, passwords = tmp_path / "services", tmp_path / "passwords"
    services.write_text(f"[boutique]\nhost={socket}\nuser=postgres\ndbname={name}\n")
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))

    _works(f"postgresql:///?service=boutique&passfile={quote(str(passwords))}")


def test_des_caractères_rares_dans_les_noms_et_le_mot_de_passe(server: Server, database_url: str) -> None:
    socket, _ = _socket_and_name(database_url)
    name = sql.Identifier(ODD)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    odd = quote(ODD, safe="")

    try:
        _works(f"postgresql://{odd}:{odd}@/{odd}?host={quote(socket)}")
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


def test_de_plusieurs_hôtes_celui_qui_est_parti_et_celui_qui_ne_fait_que_lire_sont_passés(
    server: Server, database_url: str, tmp_path: Path
) -> None:
    socket, name = _socket_and_name(database_url)
    with new_standby() as standby:
        standby.create(server.url)
        standby_socket, _ = _socket_and_name(standby.url(name))

        _works(f"postgresql://postgres@/{name}?host={tmp_path},{standby_socket},{socket}")
