"""Where a request ends, and what may follow it: HTTP/1.1 as it is really served.

Nothing is carried out but what was asked for, and everybody else is served.
"""

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.e2e.conftest import Service, running_service
from tests.e2e.raw_http import (
    HEAD,
    Answer,
    allocate,
    announced,
    chunks,
    connect,
    conversation,
    head,
    in_chunks,
    line,
    lot,
    read,
    read_answer,
)

from allocation.entrypoints.http.route import MAX_BODY

CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"
EXPECTING = b"Expect: 100-continue\r\n"
WRITTEN = {"announced": announced, "in chunks": in_chunks}

WRONG_LENGTHS = [
    b"Content-Length: 2\r\nContent-Length: %d",
    b"Content-Length: %d\r\nContent-Length: 2",
    b"Content-Length: %d, 2",
    b"Content-Length: -%d",
    b"Content-Length: +%d",
    b"Content-Length: %dx",
    b"Content-Length: 99999999999999999999%d",
    b"Content-Length : %d",
    b"Content-Length:\r\n %d",
]
WRONG_ENCODINGS = [b"gzip", b"chunked, gzip", b"identity", b"xchunked", b"chunked\r\nTransfer-Encoding: gzip"]
WRONG_CHUNK_SIZES = [b"zz", b"-1", b"", b"0x40", b"+40", b"ffffffffffffffffff", b"5"]

# Requests with a body, and what they are answered. What is refused may leave the body unread.
WITH_BODY = [
    *[
        (target, media_type, size, status)
        for target in ("POST /allocate", "POST /lots", "PATCH /lots/lot-1", "POST /disponibilit%C3%A9s")
        for media_type, size, status in [("text/plain", 1, 415), ("application/json", MAX_BODY + 1, 413)]
    ],
    ("POST /nulle-part", "application/json", 1, 404),
    ("POST /nulle-part", "application/json", MAX_BODY + 1, 413),
    ("DELETE /stock", "application/json", 1, 405),
    ("GET /stock", "application/json", 1, 200),
    ("GET /stock", "application/json", MAX_BODY + 1, 200),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with one API process, which is all that there is to hold up."""
    with running_service("--workers", "1") as service:
        yield service


@pytest.fixture
def sku(service: Service, sku: str) -> str:
    """A SKU of which there is a lot."""
    assert httpx.post(f"{service.url}/lots", json=lot(sku)).status_code == 201
    return sku


@pytest.fixture
def last(sku: str) -> bytes:
    """A request that is refused for its SKU, which the answer names, and has the connection closed."""
    return announced(line(f"dernière-{sku}", f"{sku}-inconnu"), HEAD + CLOSE)


def test_ce_dont_on_ne_sait_pas_où_il_finit_est_refusé_et_rien_n_est_exécuté(
    service: Service, sku: str
) -> None:
    body = line(f"refusée-{sku}", sku)
    for request in [
        *[HEAD + wrong % len(body) + b"\r\n\r\n" + body for wrong in WRONG_LENGTHS],
        *[HEAD + b"Transfer-Encoding: %s\r\n\r\n" % wrong + chunks(body) for wrong in WRONG_ENCODINGS],
        *[HEAD + CHUNKED + b"\r\n%s\r\n%s\r\n0\r\n\r\n" % (wrong, body) for wrong in WRONG_CHUNK_SIZES],
        in_chunks(body, head("POST /allocate", version="1.0")),
    ]:
        assert is_refused(service, request), request

    assert nothing_was_allocated(service, f"refusée-{sku}", sku)


def test_deux_longueurs_contraires_ne_font_pas_passer_une_seconde_requête(service: Service, sku: str) -> None:
    """With both headers the chunks count, and the connection ends (RFC 9112, 6.3)."""
    hidden = announced(line(f"cachée-{sku}", sku))
    length_counts, chunks_count = b"0\r\n\r\n" + hidden, chunks(hidden)
    for body, length in [(length_counts, len(length_counts)), (chunks_count, chunks_count.index(b"\n") + 1)]:
        assert is_refused(service, HEAD + CHUNKED + b"Content-Length: %d\r\n\r\n" % length + body + hidden)

    assert nothing_was_allocated(service, f"cachée-{sku}", sku)


@pytest.mark.parametrize("end", [b"", b"zz\r\n\r\n", b"5\r\nab", b"0\r\n", b"0\r\nX-Somme: 1\r\n\r\n"])
def test_un_corps_en_morceaux_qui_n_est_pas_achevé_n_est_pas_exécuté(
    service: Service, sku: str, end: bytes
) -> None:
    """Nor is one that goes on after its last chunk, which can't be told from it."""
    request = in_chunks(line(f"coupée-{sku}", sku)).removesuffix(chunks(b"")) + end

    assert [status for status, _, _ in conversation(service, request, goes=True)] in ([408], [400], [])

    assert nothing_was_allocated(service, f"coupée-{sku}", sku)


@pytest.mark.parametrize("target", ["POST /allocate", "PATCH /lots/lot-1", "POST /nulle-part"])
@pytest.mark.parametrize("rest", [b"Content-Length: 80\r\n\r\n{", CHUNKED + b"\r\n1\r\n{\r\n"])
def test_qui_raccroche_en_envoyant_un_corps_n_est_pas_une_panne(
    service: Service, target: str, rest: bytes
) -> None:
    conversation(service, head(target) + rest, goes=True)

    assert 'status="500"' not in httpx.get(f"{service.url}/metrics").text
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("asked", WITH_BODY, ids=str)
def test_un_corps_laissé_de_côté_n_est_jamais_pris_pour_une_requête(
    service: Service, sku: str, last: bytes, asked: tuple[str, str, int, int], written: str
) -> None:
    target, media_type, size, status = asked
    hidden = announced(line(f"cachée-{sku}", sku))
    body = hidden * (size // len(hidden) + 1)

    first, *rest = conversation(service, WRITTEN[written](body, head(target, media_type)), last)

    assert first[0] == status
    # Either the connection has ended, or the next request on it has been understood.
    assert skus_in(rest) in ([], [f"{sku}-inconnu"])
    assert nothing_was_allocated(service, f"cachée-{sku}", sku)


@pytest.mark.parametrize(
    ("version", "wish", "is_kept", "said"),
    [
        ("1.1", b"", True, None),
        ("1.1", CLOSE, False, "close"),
        ("1.0", b"", False, None),
        ("1.0", CLOSE, False, None),
        ("1.0", b"Connection: keep-alive\r\n", True, "keep-alive"),
    ],
)
@pytest.mark.parametrize("target", ["POST /allocate", "GET /openapi.json"])
def test_la_connexion_se_ferme_ou_reste_comme_on_l_a_demandé(
    service: Service,
    sku: str,
    last: bytes,
    target: str,
    version: str,
    wish: bytes,
    is_kept: bool,  # noqa: FBT001
    said: str | None,
) -> None:
    request = announced(line(f"c-{sku}", sku), head(target, version=version) + wish)

    (status, headers, body), *rest = conversation(service, request, last)

    assert status in {200, 201}
    assert len(body) == int(headers["content-length"]) > 0
    assert headers.get("connection") == said
    assert skus_in(rest) == ([f"{sku}-inconnu"] if is_kept else [])


def test_des_requêtes_de_toute_sorte_d_un_trait_sont_répondues_dans_l_ordre(
    service: Service, sku: str
) -> None:
    asked = [
        ("POST /lots", json.dumps(lot(f"{sku}-2")).encode(), 201, b"lot-%s-2" % sku.encode()),
        ("POST /allocate", line(f"c-{sku}", f"{sku}-2"), 201, b"lot-%s-2" % sku.encode()),
        ("GET /health/live", b"", 200, b"{"),
        ("GET /metrics", b"", 200, b"# HELP"),
        ("GET /docs", b"", 200, b"<html"),
        ("POST /nulle-part", line(f"nulle-part-{sku}", sku), 404, b"urn:allocation:introuvable"),
        ("DELETE /stock", b"", 405, b"urn:allocation:"),
        ("POST /allocate", line(f"inconnue-{sku}", f"{sku}-3"), 400, b"%s-3" % sku.encode()),
        ("POST /allocate", line(f"c-{sku}", f"{sku}-2"), 200, b"lot-%s-2" % sku.encode()),
    ]
    *requests, request = [announced(body, head(target)) for target, body, _, _ in asked]

    answers = conversation(service, *requests, request.replace(b"\r\n", b"\r\n" + CLOSE, 1))

    assert [status for status, _, _ in answers] == [status for _, _, status, _ in asked]
    for (target, _, _, expected), (_, _, body) in zip(asked, answers, strict=True):
        assert expected in body, target


@pytest.mark.parametrize(
    ("media_type", "length", "status"), [("text/plain", 80, 415), ("application/json", MAX_BODY + 1, 413)]
)
def test_qui_attend_d_être_invité_apprend_son_refus_sans_rien_envoyer(
    service: Service, media_type: str, length: int, status: int
) -> None:
    request = head("POST /allocate", media_type) + EXPECTING + b"Content-Length: %d\r\n\r\n" % length

    assert [status for status, _, _ in conversation(service, request)] == [status]


@pytest.mark.parametrize(
    ("target", "size", "status"), [("allocate", MAX_BODY + 1, 413), ("nulle-part", 1, 404)]
)
def test_qui_est_invité_et_puis_refusé_reçoit_les_deux_réponses(
    service: Service, target: str, size: int, status: int
) -> None:
    with connect(service) as client, client.makefile("rb") as received:
        client.sendall(head(f"POST /{target}") + EXPECTING + CHUNKED + b"\r\n")
        assert read_answer(received)[0] == 100
        client.sendall(chunks(b" " * size))
        assert read_answer(received)[0] == status


def test_une_attente_inconnue_ne_fait_pas_attendre(service: Service, sku: str) -> None:
    request = announced(line(f"c-{sku}", sku), HEAD + CLOSE + b"Expect: rien\r\n")

    [(status, _, _)] = conversation(service, request)

    assert status in {201, 417}


def skus_in(answers: list[Answer]) -> list[str]:
    """The SKU that each of these answers names."""
    return [json.loads(body)["sku"] for _, _, body in answers]


def is_refused(service: Service, request: bytes) -> bool:
    """Whether the service answers nothing but a refusal, and ends the connection."""
    answers = conversation(service, request)
    return len(answers) < 2 and all(400 <= status < 500 for status, _, _ in answers)


def nothing_was_allocated(service: Service, id_commande: str, sku: str) -> bool:
    """Whether the order has no line, while another one, of somebody else, is served."""
    after = allocate(service, f"après-{sku}", sku)
    assert after.status_code == 201
    return read(service, id_commande, after.headers["Consistency-Token"], wait_s=20).status_code == 404
