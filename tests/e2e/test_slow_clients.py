"""Clients that are slow, send too much, vanish or never read: everybody else is served all the same."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psycopg
import pytest
from tests.e2e.conftest import Service, running_service
from tests.e2e.raw_http import (
    HEAD,
    allocate,
    allocation,
    announced,
    connect,
    exchanged,
    in_chunks,
    line,
    lot,
    read,
    read_answer,
)
from tests.waiting import PATIENCE_S, SOMEONE_WAITS_FOR_A_LOCK, eventually

from allocation.entrypoints.http.route import MAX_BODY

# More than an API process works on at once.
SLOW_CLIENTS = 150
# Who do not read their answers, and what each asks for: more than any socket holds.
DEAF_CLIENTS, PAGES = 8, 400

SLOW_BODY = HEAD + b"Content-Length: 80\r\n\r\n{"
ENDLESS_BODY = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with one API process, which is all that there is to hold up."""
    with running_service("--workers", "1") as service:
        yield service


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


def test_un_jeton_illisible_est_refusé_et_non_pris_pour_absent(service: Service) -> None:
    for token in (b"\xff\xfe", "é".encode()):
        request = b"GET /stock HTTP/1.1\r\nHost: localhost\r\nConsistency-Token: %s\r\n\r\n" % token
        status, _, body = exchanged(service, request)

        assert status == 422
        assert [each["champ"] for each in json.loads(body)["champs"]] == ["Consistency-Token"]


def test_des_requêtes_envoyées_d_un_trait_sont_répondues_dans_l_ordre(service: Service) -> None:
    numbers = range(20)
    with connect(service) as client:
        client.sendall(b"".join(announced(line(f"suite-{n}", f"INCONNU-{n}")) for n in numbers))
        with client.makefile("rb") as received:
            answers = [read_answer(received) for _ in numbers]

    assert [status for status, _, _ in answers] == [400] * 20
    for n, (_, _, body) in enumerate(answers):
        assert json.loads(body)["sku"] == f"INCONNU-{n}"


def test_une_connexion_sert_à_plusieurs_requêtes_de_toute_sorte(service: Service) -> None:
    with httpx.Client(base_url=service.url, limits=httpx.Limits(max_connections=1)) as client:
        streams = set()
        for method, path, status in [
            ("GET", "/health/live", 200),
            ("GET", "/allocations/inconnue", 404),
            ("POST", "/allocate", 415),
            ("GET", "/openapi.json", 200),
            ("HEAD", "/stock", 200),
            ("GET", "/stock", 200),
        ]:
            answer = client.request(method, path)
            assert answer.status_code == status, path
            streams.add(answer.extensions["network_stream"].get_extra_info("client_addr"))

    assert len(streams) == 1


def test_qui_annonce_plus_qu_il_n_envoie_et_raccroche_n_a_rien_fait_faire(service: Service) -> None:
    body = line("raccroché", "RACCROCHÉ")
    assert httpx.post(f"{service.url}/lots", json=lot("RACCROCHÉ")).status_code == 201
    with connect(service) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        client.shutdown(socket.SHUT_WR)
        # What is answered, if anything is, ends when the service has done with the request.
        assert not client.recv(4096).startswith(b"HTTP/1.1 2")

    assert httpx.post(f"{service.url}/allocate", json=allocation("après", "RACCROCHÉ")).status_code == 201
    assert service.query("SELECT id_commande FROM order_lines WHERE sku = 'RACCROCHÉ'") == [("après",)]


@pytest.mark.parametrize("written", ["announced", "in_chunks"])
def test_un_corps_de_la_longueur_permise_se_lit_et_un_octet_de_plus_est_refusé(
    service: Service, written: str
) -> None:
    write = {"announced": announced, "in_chunks": in_chunks}[written]

    assert exchanged(service, write(line("c-1").ljust(MAX_BODY)))[0] == 400
    status, _, body = exchanged(service, write(line("c-1").ljust(MAX_BODY + 1)))

    assert (status, json.loads(body)["type"]) == (413, "urn:allocation:corps-trop-grand")


@pytest.mark.parametrize("path", ["/health/live", "/stock", "/stock/INCONNU", "/openapi.json"])
def test_head_dit_ce_que_get_dirait_sans_le_corps(service: Service, path: str) -> None:
    got, head = httpx.get(f"{service.url}{path}"), httpx.head(f"{service.url}{path}")

    assert head.content == b""
    for name in ("content-length", "content-type"):
        assert head.headers[name] == got.headers[name]
    assert head.status_code == got.status_code


def test_la_commande_de_qui_raccroche_pendant_qu_elle_attend_est_exécutée(service: Service) -> None:
    assert httpx.post(f"{service.url}/lots", json=lot("VERROU")).status_code == 201
    with psycopg.connect(service.database_url) as holding:
        holding.execute("SELECT 1 FROM produits WHERE sku = 'VERROU' FOR UPDATE")
        with connect(service) as client:
            client.sendall(announced(line("parti", "VERROU")))
            eventually(lambda: service.query(SOMEONE_WAITS_FOR_A_LOCK))
        assert httpx.get(f"{service.url}/health/live", timeout=30).status_code == 200

    eventually(lambda: service.query("SELECT 1 FROM order_lines WHERE id_commande = 'parti'"))
    assert httpx.post(f"{service.url}/allocate", json=allocation("resté", "VERROU")).status_code == 201


def test_qui_disparaît_en_attendant_un_jeton_ne_retient_personne(service: Service, sku: str) -> None:
    assert httpx.post(f"{service.url}/lots", json=lot(sku)).status_code == 201
    answered = reads_answered(service)
    with psycopg.connect(service.database_url) as holding:
        # The worker can't advance the views.
        holding.execute("SELECT 1 FROM projections FOR UPDATE")
        token = allocate(service, f"c-{sku}", sku).headers["Consistency-Token"]
        with ExitStack() as opened:
            for _ in range(SLOW_CLIENTS):
                client = opened.enter_context(connect(service))
                client.sendall(
                    f"GET /allocations/c-{sku} HTTP/1.1\r\nHost: localhost\r\n"
                    f"Consistency-Token: {token}\r\nPrefer: wait=30\r\n\r\n".encode()
                )
            # Once this one has been answered, all those before it have been read.
            late = read(service, f"c-{sku}", token, wait_s=0)
        assert httpx.get(f"{service.url}/stock", timeout=PATIENCE_S).status_code == 200

    assert late.status_code == 503
    assert read(service, f"c-{sku}", token, wait_s=30).status_code == 200
    # Those who have gone wait no more either.
    eventually(lambda: reads_answered(service) == answered + SLOW_CLIENTS + 2)


def test_qui_ne_lit_pas_ses_réponses_ne_retient_que_les_siennes(service: Service, sku: str) -> None:
    assert httpx.post(f"{service.url}/lots", json=lot(sku)).status_code == 201
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    page = httpx.get(f"{service.url}/openapi.json").content
    with ExitStack() as opened:
        deaf = [opened.enter_context(connect(service)) for _ in range(DEAF_CLIENTS)]
        for client in deaf:
            client.sendall(request * PAGES)

        for number in range(20):
            assert allocate(service, f"c-{number}-{sku}", sku).status_code == 201
            assert httpx.get(f"{service.url}/stock", timeout=PATIENCE_S).status_code == 200
            assert httpx.get(f"{service.url}/openapi.json", timeout=PATIENCE_S).content == page

        with deaf[0].makefile("rb") as received:
            assert all(read_answer(received)[2] == page for _ in range(PAGES))


def reads_answered(service: Service) -> float:
    """How many reads of orders the service has answered."""
    counts = re.findall(
        r'^allocation_http_requests_total{method="GET",route="/allocations/.*} (.*)$',
        httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S).text,
        re.MULTILINE,
    )
    return sum(map(float, counts))
