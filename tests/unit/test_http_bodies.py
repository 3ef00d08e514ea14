"""Requests that come slowly: they take no place from others, and what is cut off is not carried out."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from tests.waiting import eventually
from werkzeug.exceptions import RequestTimeout

from allocation.entrypoints.http.bodies import WholeRequests
from allocation.entrypoints.http.connections import close_unanswered

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


class Slow:
    """A body of which nothing comes before `goes_on` is set."""

    def __init__(self, content: bytes = b"") -> None:
        self.goes_on = threading.Event()
        self.was_asked = threading.Event()
        self._content = content

    def read(self, _size: int) -> bytes:
        self.was_asked.set()
        self.goes_on.wait()
        return self._content


def reading_app(environ: dict[str, Any], _start_response: object) -> list[bytes]:
    return [environ["wsgi.input"].read(100)]


def ask(app: WholeRequests, body: object, *, length: int | None = None) -> list[bytes]:
    declared = {"HTTP_TRANSFER_ENCODING": "chunked"} if length is None else {"CONTENT_LENGTH": str(length)}
    return list(app({"wsgi.input": body, **declared}, lambda *_: None))


def test_un_corps_entier_se_lit() -> None:
    app = WholeRequests(reading_app, timeout_s=60, places=1)

    assert ask(app, BytesIO(b"un"), length=2) == [b"un"]
    assert ask(app, BytesIO(b"deux")) == [b"deux"]
    assert list(app({"wsgi.input": BytesIO(b"")}, lambda *_: None)) == [b""]


def test_un_corps_coupé_avant_sa_fin_n_est_pas_traité() -> None:
    app = WholeRequests(reading_app, timeout_s=60, places=1)

    with pytest.raises(RequestTimeout):
        ask(app, BytesIO(b'{"qty": 1}'), length=60)


def test_un_corps_venu_trop_tard_n_est_pas_traité() -> None:
    app, late = WholeRequests(reading_app, timeout_s=0.05, places=1), Slow(b"tard")
    threading.Timer(0.2, late.goes_on.set).start()

    with pytest.raises(RequestTimeout):
        ask(app, late)


def test_un_corps_attendu_ne_prend_la_place_de_personne() -> None:
    app, slow = WholeRequests(reading_app, timeout_s=60, places=1), Slow(b"enfin")
    answers: list[list[bytes]] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(app, slow)))
    waiting.start()
    slow.was_asked.wait()

    assert ask(app, BytesIO(b"prompt")) == [b"prompt"]

    slow.goes_on.set()
    waiting.join()
    assert answers == [[b"enfin"]]


Connect = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def connect(listening: socket.socket) -> Iterator[Connect]:
    """Makes connections, each seen from its client and from its server."""
    opened: list[socket.socket] = []

    def make() -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(listening.getsockname())
        served, _ = listening.accept()
        client.settimeout(60)
        opened.extend((client, served))
        return client, served

    yield make
    for each in opened:
        each.close()


def wait_out(seconds: float) -> None:
    """Return when the kernel's clock has gone on for so long."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end)


@on_linux
def test_une_requête_qui_ne_finit_pas_est_refusée_et_sa_connexion_fermée(
    listening: socket.socket, connect: Connect
) -> None:
    port: int = listening.getsockname()[1]
    silent, slow, answered, fresh = (connect() for _ in range(4))
    for client, _ in (silent, slow, answered):
        client.sendall(b"POST / HTTP/1.1")
    wait_out(0.02)
    answered[1].sendall(b"HTTP/1.1 200 OK")
    slow[0].sendall(b"a")
    closed = 0

    def both_closed() -> bool:
        nonlocal closed
        closed += close_unanswered(port, 0.3, spared=())
        return closed == 2

    eventually(both_closed)

    assert close_unanswered(port, 0.3, spared=()) == 0
    for client, served in (silent, slow):
        served.settimeout(60)
        with closing(client.makefile("rb")) as answer:
            assert answer.read().startswith(b"HTTP/1.1 408 Request Timeout")
    assert answered[0].recv(100) == b"HTTP/1.1 200 OK"
    for client, _ in (answered, fresh):
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.recv(100)


@on_linux
def test_une_requête_entière_à_laquelle_on_travaille_est_épargnée(
    listening: socket.socket, connect: Connect
) -> None:
    port: int = listening.getsockname()[1]
    client, _ = connect()
    client.sendall(b"GET /long HTTP/1.1")
    began = time.monotonic()
    wait_out(0.5)

    assert close_unanswered(port, 0.1, spared=[began]) == 0
    assert close_unanswered(port, 0.1, spared=[began + 60]) == 1
