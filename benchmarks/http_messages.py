"""Requests as the bytes that go over the wire, made before the clock starts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, cycle
from random import Random
from typing import Any
from urllib.parse import quote

from benchmarks.load import Address

ORDER_DIGITS = 9
SAMPLE = 20_000
SEED = 12
# Of one of many lots: some are used up while it is measured.
LOT_UNITS = 1000
# As many as one request may ask about.
SKUS_AT_ONCE = 100
NO_HEADERS: Mapping[str, str] = {}


def get(path: str, host: Address, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    """A GET request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: {host[0]}:{host[1]}\r\n{lines}\r\n".encode()


def post(path: str, host: Address, body: dict[str, Any]) -> bytes:
    """A POST request with a JSON body."""
    content = json.dumps(body, ensure_ascii=False).encode()
    head = (
        f"POST {quote(path)} HTTP/1.1\r\nHost: {host[0]}:{host[1]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def order(host: Address, sku: str, id_commande: str) -> bytes:
    """The request for one unit."""
    return post("/allocate", host, {"id_commande": id_commande, "sku": sku, "quantité": 1})


def allocations(host: Address, skus: Sequence[str], prefix: str) -> Iterator[bytes]:
    """Without end, orders of one unit, each with an id of its own; the SKUs come at random."""
    number = "0" * ORDER_DIGITS
    templates = [order(host, sku, f"{prefix}-{number}").split(number.encode()) for sku in skus]
    choices = Random(SEED).choices(templates, k=SAMPLE)
    for n, (head, tail) in enumerate(cycle(choices)):
        yield b"%s%0*d%s" % (head, ORDER_DIGITS, n, tail)


def receipts(host: Address, sku: str) -> Iterator[bytes]:
    """Without end, lots of the SKU, each with a reference of its own."""
    for n in count(1):
        yield post("/lots", host, {"réf": f"lot-{sku}-{n}", "sku": sku, "quantité": LOT_UNITS})


def order_reads(host: Address, orders: int) -> Iterator[bytes]:
    """Without end, reads of random ones of the orders `c-1` to `c-<orders>`."""
    numbers = Random(SEED).choices(range(1, orders + 1), k=SAMPLE)
    return cycle([get(f"/allocations/c-{number}", host) for number in numbers])


def availabilities(host: Address, skus: Sequence[str]) -> Iterator[bytes]:
    """Without end, questions for what can be sold of a hundred of the SKUs at random."""
    chance = Random(SEED)
    bodies = [{"skus": chance.sample(skus, SKUS_AT_ONCE)} for _ in range(SKUS_AT_ONCE)]
    return cycle([post("/disponibilités", host, body) for body in bodies])
