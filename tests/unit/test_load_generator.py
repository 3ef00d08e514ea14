"""The load generator of the benchmarks, against a small server whose every answer is known beforehand."""

import math
import resource
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count, islice, repeat
from pathlib import Path
from typing import TypeAlias

import pytest
from benchmarks.http_messages import allocations, get, order_reads
from benchmarks.load import HEAD_END, Address, drive
from benchmarks.load_result import LoadResult
from benchmarks.responder import responder
from benchmarks.waiting_clients import clients_allowed, waiting_clients
from tests.waiting import eventually

PROJECT = Path(__file__).parents[2]
SERVICE_TIME_S = 0.03

Answer: TypeAlias = Callable[[int], bytes | None]
Serve: TypeAlias = Callable[[Answer], "Server"]


def response(status: int, body: bytes = b"{}") -> bytes:
    head = f"HTTP/1.1 {status} Whatever\r\nCONTENT-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Server:
    """Answers request after request with what `answer` gives for its number; None closes the connection."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._numbers = count()
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while (request := connection.recv(65536)) and HEAD_END in request:
                answer = self._answer(next(self._numbers))
                if answer is None:
                    return
                for piece in (answer[:20], answer[20:]):
                    connection.sendall(piece)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(closing(Server(answer)))


REQUEST = get("/health/live", ("127.0.0.1", 80))


def test_chaque_requête_compte_une_fois_sous_le_statut_de_sa_réponse(serve: Serve) -> None:
    server = serve(lambda number: response(500 if number % 4 == 0 else 201))

    load = drive(server.address, repeat(REQUEST, 40), connections=4)

    assert load.statuses == {201: 30, 500: 10}
    assert (load.succeeded, load.failed, load.lost) == (30, 10, 0)
    assert len(load.latencies_s) == 40
    assert load.rate == pytest.approx(30 / load.seconds)


def test_les_connexions_restent_ouvertes(serve: Serve) -> None:
    server = serve(lambda _: response(200))

    load = drive(server.address, repeat(REQUEST, 200), connections=3)

    assert load.succeeded == 200
    assert load.connected == server.accepted == 3


def test_une_requête_sans_réponse_est_perdue_et_la_charge_continue(serve: Serve) -> None:
    server = serve(lambda number: None if number in {3, 7} else response(200))

    load = drive(server.address, repeat(REQUEST, 20), connections=2)

    assert (load.succeeded, load.lost, load.failed) == (18, 2, 2)
    assert load.connected == 4


def test_une_requête_en_retard_compte_depuis_son_heure_prévue(serve: Serve) -> None:
    busy = threading.Event()

    def slowly(_: int) -> bytes:
        busy.wait(SERVICE_TIME_S)
        return response(200)

    load = drive(serve(slowly).address, repeat(REQUEST), connections=1, seconds=0.2, rate=100)

    assert load.succeeded == 20
    # The last one is due after 0.19 s, and answered when twenty have taken their time.
    assert load.latencies_s[-1] >= 20 * SERVICE_TIME_S - 0.19
    assert min(load.latencies_s) >= SERVICE_TIME_S


def test_en_boucle_ouverte_le_débit_est_celui_demandé(serve: Serve) -> None:
    server = serve(lambda _: response(200))

    load = drive(server.address, repeat(REQUEST), connections=8, seconds=0.5, rate=200)

    assert load.succeeded == 100
    assert load.seconds >= 99 / 200


def test_en_boucle_fermée_la_charge_s_arrête_à_l_heure(serve: Serve) -> None:
    server = serve(lambda _: response(200))

    load = drive(server.address, repeat(REQUEST), connections=2, seconds=0.1)

    assert load.succeeded > 0
    assert load.seconds >= 0.1
    assert load.cpu_s > 0


def test_un_centile_est_une_latence_mesurée() -> None:
    load = LoadResult(latencies_s=array("d", [0.004, 0.001, 0.003, 0.002]))

    assert (load.percentile_s(50), load.percentile_s(99)) == (0.002, 0.004)
    assert math.isnan(LoadResult().percentile_s(50))


def test_la_latence_des_succès_se_compte_à_part() -> None:
    load = LoadResult()
    for status, latency in ((201, 0.2), (503, 0.001), (201, 0.4), (503, 0.002)):
        load.add(status, latency)

    assert (load.percentile_of_successes_s(50), load.percentile_s(50)) == (0.2, 0.002)
    assert (load.succeeded, load.failed) == (2, 2)


def test_qui_attend_compte_à_sa_réponse(serve: Serve) -> None:
    go_on = threading.Event()

    def late(number: int) -> bytes | None:
        if number > 0:
            go_on.wait()
        return None if number == 1 else response(200)

    with waiting_clients(serve(late).address, REQUEST, 5) as clients:
        eventually(lambda: clients.answered == 1)
        go_on.set()

        assert clients.statuses() == {200: 4, 0: 1}


def test_il_y_a_autant_de_clients_que_le_système_permet_de_fichiers() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert clients_allowed(10) == 10
    assert clients_allowed(10 * most) < most


def test_chaque_commande_a_un_identifiant_à_elle() -> None:
    requests = list(islice(allocations(("127.0.0.1", 80), ["LAMPE", "TABLE"], "c"), 50))

    assert len(set(requests)) == 50
    for request in requests:
        head, _, body = request.partition(HEAD_END)
        assert f"Content-Length: {len(body)}".encode() in head


def test_les_lectures_portent_sur_des_commandes_existantes() -> None:
    paths = {request.split()[1] for request in islice(order_reads(("127.0.0.1", 80), 3), 100)}

    assert paths == {b"/allocations/c-1", b"/allocations/c-2", b"/allocations/c-3"}


def test_le_répondeur_répond_à_tout() -> None:
    with responder() as address:
        load = drive(address, repeat(REQUEST, 50), connections=2)

    assert (load.statuses, load.lost) == ({200: 50}, 0)


def test_un_répondeur_qui_ne_démarre_pas_dit_pourquoi(tmp_path: Path) -> None:
    script = tmp_path / "without_guard.py"
    script.write_text("from benchmarks.responder import responder\nwith responder() as address:\n    pass\n")

    finished = subprocess.run(
        [sys.executable, script],
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 1
    assert "ResponderSilent: the responder's process has ended with exit code 1" in finished.stderr
    assert '`if __name__ == "__main__":`' in finished.stderr
