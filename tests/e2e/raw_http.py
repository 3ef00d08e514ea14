"""Requests written and answers read byte by byte, for what no HTTP client would send."""

import json
import socket
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO, TypeAlias
from urllib.parse import urlsplit

import httpx
from tests.e2e.conftest import Service
from tests.waiting import PATIENCE_S

# The status, the headers and the body.
Answer: TypeAlias = tuple[int, dict[str, str], bytes]


def head(target: str, media_type: str = "application/json", version: str = "1.1") -> bytes:
    """The beginning of a request with a body, which is to be continued with its length."""
    return f"{target} HTTP/{version}\r\nHost: localhost\r\nContent-Type: {media_type}\r\n".encode()


HEAD = head("POST /allocate")


def lot(sku: str) -> dict[str, object]:
    return {"réf": f"lot-{sku}", "sku": sku, "quantité": 1000}


def allocation(id_commande: str, sku: str) -> dict[str, object]:
    return {"id_commande": id_commande, "sku": sku, "quantité": 1}


def line(id_commande: str, sku: str = "INCONNU") -> bytes:
    return json.dumps(allocation(id_commande, sku)).encode()


def announced(body: bytes, head: bytes = HEAD) -> bytes:
    """A request, an allocation by default, that says at first how long it is."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def in_chunks(body: bytes, head: bytes = HEAD) -> bytes:
    """A request, an allocation by default, of which each part says how long it is."""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(body)


def chunks(body: bytes) -> bytes:
    """The body in parts, and their end."""
    parts = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE_S)


def exchanged(service: Service, request: bytes) -> Answer:
    """What is answered to this request on a connection of its own."""
    with connect(service) as client, client.makefile("rb") as received:
        client.sendall(request)
        return read_answer(received)


def conversation(service: Service, *requests: bytes, goes: bool = False) -> list[Answer]:
    """What is answered to these requests, sent at once, until the service closes the connection.

    If the client `goes`, it says that nothing more will come.
    """
    received = bytearray()
    with connect(service) as client:
        # It may close it before it has read everything.
        with suppress(ConnectionError):
            client.sendall(b"".join(requests))
            if goes:
                client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while piece := client.recv(65536):
                received += piece
    return read_answers(bytes(received))


def read_answers(received: bytes) -> list[Answer]:
    """All answers that have been received."""
    rest = BytesIO(received)
    answers = []
    while rest.tell() < len(received):
        answers.append(read_answer(rest))
    return answers


def read_answer(received: BinaryIO) -> Answer:
    """The next answer."""
    status = int(received.readline().split()[1])
    headers = {}
    while (header := received.readline().strip()) != b"":
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, received.read(int(headers.get("content-length", 0)))


def allocate(service: Service, id_commande: str, sku: str) -> httpx.Response:
    return httpx.post(f"{service.url}/allocate", json=allocation(id_commande, sku), timeout=PATIENCE_S)


def read(service: Service, id_commande: str, token: str, wait_s: int) -> httpx.Response:
    """The order's lines, as of the token."""
    headers = {"Consistency-Token": token, "Prefer": f"wait={wait_s}"}
    return httpx.get(f"{service.url}/allocations/{id_commande}", headers=headers, timeout=PATIENCE_S + 5)
