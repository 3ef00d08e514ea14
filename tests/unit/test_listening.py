"""The address of the service: found by its name, and nobody else's while it is held."""

import socket
from contextlib import ExitStack

import pytest
from granian.net import SocketSpec  # type: ignore[attr-defined]

from allocation.entrypoints.serving.listening import Address, CannotListen, held_address


@pytest.mark.parametrize("other", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_une_adresse_tenue_l_est_par_un_seul_programme_avant_même_qu_il_écoute(
    free_port: int, other: str
) -> None:
    with (
        held_address("127.0.0.1", free_port),
        pytest.raises(CannotListen, match=f"cannot listen on {other}:{free_port}: Address already in use"),
        held_address(other, free_port),
    ):
        pass


def test_les_processus_du_serveur_partagent_l_adresse_tenue_et_personne_d_autre(free_port: int) -> None:
    with held_address("127.0.0.1", free_port), ExitStack() as open_sockets:
        for _ in range(2):
            shared = SocketSpec("127.0.0.1", free_port, 16).build()
            listening = open_sockets.enter_context(socket.socket(fileno=shared.get_fd()))
            listening.listen()
        socket.create_connection(("127.0.0.1", free_port)).close()

        with pytest.raises(OSError, match="already in use"):
            socket.create_server(("127.0.0.1", free_port))


def test_ce_qui_tient_l_adresse_ne_prend_pas_les_connexions(free_port: int) -> None:
    with held_address("127.0.0.1", free_port), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port))


def test_une_adresse_lâchée_est_libre_aussitôt(free_port: int) -> None:
    for _ in range(2):
        with held_address("127.0.0.1", free_port) as address:
            assert address == Address("127.0.0.1", free_port)


def test_un_nom_est_cherché_et_ipv4_préféré(free_port: int) -> None:
    with held_address("localhost", free_port) as address:
        assert address.ip == "127.0.0.1"
        assert address.url("localhost") == f"http://localhost:{free_port}"


@pytest.mark.parametrize("host", ["personne.invalid", "a" * 70, "999.1.1.1"])
def test_un_nom_inconnu_est_dit_en_une_phrase(free_port: int, host: str) -> None:
    with (
        pytest.raises(CannotListen, match=f"cannot listen on {host}:{free_port}: "),
        held_address(host, free_port),
    ):
        pass


def test_une_adresse_d_une_autre_machine_est_dite_en_une_phrase(free_port: int) -> None:
    with (
        pytest.raises(CannotListen, match="Cannot assign requested address"),
        held_address("192.0.2.1", free_port),
    ):
        pass


@pytest.mark.parametrize(
    ("ip", "name", "url"),
    [
        ("127.0.0.1", "localhost", "http://localhost:8000"),
        ("0.0.0.0", "0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "::", "http://[::1]:8000"),
        ("::1", "::1", "http://[::1]:8000"),
    ],
)
def test_l_url_annoncée_peut_être_cliquée_sur_cette_machine(ip: str, name: str, url: str) -> None:
    assert Address(ip, 8000).url(name) == url
