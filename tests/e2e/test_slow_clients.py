"""Clients that send slowly, or too much: refused in time, while everybody else is served."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from tests.e2e.conftest import Service, running_service

# More than an API process works on at once.
SLOW_CLIENTS = 150

HEAD = b"POST /allocate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SLOW_BODY = HEAD + b"Content-Length: 80\r\n\r\n{"
ENDLESS_BODY = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with one API process, which is all that there is to hold up."""
    with running_service("--workers", "1") as service:
        yield service


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=60)


def test_ceux_qui_envoient_lentement_sont_refusés_et_les_autres_servis(service: Service) -> None:
    lot = {"réf": "lot-1", "sku": "LAMPE", "quantité": 1000}
    assert httpx.post(f"{service.url}/lots", json=lot).status_code == 201
    with ExitStack() as opened:
        slow = [opened.enter_context(connect(service)) for _ in range(SLOW_CLIENTS)]
        for number, client in enumerate(slow):
            client.sendall(SLOW_BODY if number % 2 else ENDLESS_BODY)

        for number in range(20):
            line = {"id_commande": f"c-{number}", "sku": "LAMPE", "quantité": 1}
            allocated = httpx.post(f"{service.url}/allocate", json=line, timeout=30)
            assert allocated.status_code == 201
            assert httpx.get(f"{service.url}/health/live", timeout=30).status_code == 200

        for client in slow:
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b"connection: close" in answer.lower()
            assert b"urn:allocation:corps-trop-lent" in answer


def test_un_corps_envoyé_en_plusieurs_fois_ou_sur_invitation_se_lit(service: Service) -> None:
    body = b'{"id_commande": "c-1", "sku": "INCONNU", "qty": 1}'
    with connect(service) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
        client.sendall(body[:10])
        client.sendall(body[10:])
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_des_en_têtes_démesurés_sont_refusés(service: Service) -> None:
    with connect(service) as client:
        client.sendall(b"GET /stock HTTP/1.1\r\nHost: localhost\r\nPrefer: a" + b"," * 60_000)
        assert client.recv(4096).startswith(b"HTTP/1.1 431 ")
