"""What ten thousand reads cost that wait for a write to become visible."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http import HTTPStatus

import psycopg

from benchmarks import http_messages
from benchmarks.contestants import Bench
from benchmarks.experiments.lag import VIEW
from benchmarks.experiments.memory import api_worker_sizes_mib
from benchmarks.findings import Figure, Finding, Series, Unit, at_most, failures_in
from benchmarks.laboratory import libpq_url
from benchmarks.load import drive
from benchmarks.shop import SPREAD
from benchmarks.waiting_clients import WaitingClients, clients_allowed, waiting_clients

CLIENTS = 32
RATE = 1000
WAIT_S = 30
ROUNDS = 2

HOW = (
    "{number:,} clients read an order with the `Consistency-Token` of its write and `Prefer: wait={wait}`, "
    "while the view is held back; an open loop of {rate:,} other reads a second. The growth is that of the "
    "proportional set size, connections included. A client that is not answered 200, or is answered before "
    "the view goes on, makes the run fail."
)

# Whoever applies events to the view passes it over while its row is locked.
_HOLD = "SELECT FROM projections WHERE name = %s FOR UPDATE"


def waiting_reads(bench: Bench) -> Finding:
    """The size of the workers, and other reads: before, meanwhile, and after."""
    number = clients_allowed(bench.sizes.waiting_reads)
    alone = Series("other reads before and after, p99", Unit.MILLISECONDS)
    beside = Series("other reads meanwhile, p99", Unit.MILLISECONDS)
    growth = Series("growth of each API worker", Unit.MEBIBYTES)
    bench.say("reads before")
    _read(bench, alone)
    before = api_worker_sizes_mib(bench.shop.served)
    with ExitStack() as until_answered:
        with _held_back(bench.shop.url):
            bench.say(f"reads beside {number:,} that wait")
            clients = until_answered.enter_context(_waiting(bench, number))
            # Until the server has read what the many have asked, it is not waiting that is measured.
            _read(bench, Series("while they ask", Unit.MILLISECONDS))
            for _ in range(ROUNDS):
                _read(bench, beside)
            meanwhile = api_worker_sizes_mib(bench.shop.served)
            early = clients.answered
        statuses = clients.statuses()
    bench.say("reads after")
    _read(bench, alone)
    growth.values = [now - then for now, then in zip(meanwhile, before, strict=True)]
    in_time = statuses[HTTPStatus.OK] - early
    return Finding(
        key="waiting-reads",
        title="Reads that wait for a write",
        how=HOW.format(number=number, wait=WAIT_S, rate=RATE),
        series=(growth, alone, beside),
        figures=(
            Figure(f"{number:,} waiting reads, memory of a worker", growth, at_most(60, Unit.MEBIBYTES)),
            Figure(f"other reads beside {number:,} that wait, p99", beside, at_most(2), alone),
        ),
        remarks=_allowance(number, bench.sizes.waiting_reads),
        problems=[
            *failures_in(alone, beside),
            *([f"of {number:,} waiting reads, {in_time:,} got their answer"] if in_time < number else []),
        ],
    )


def _allowance(number: int, wanted: int) -> list[str]:
    return (
        [f"{wanted:,} were wanted; this machine allows a process no more files."] if number < wanted else []
    )


def _read(bench: Bench, tail: Series) -> None:
    requests = http_messages.order_reads(bench.shop.served.address, bench.sizes.lines)
    seconds = bench.sizes.seconds
    load = drive(bench.shop.served.address, requests, connections=CLIENTS, seconds=seconds, rate=RATE)
    tail.loads.append(load)
    tail.values.append(1000 * load.percentile_s(99))


def _waiting(bench: Bench, number: int) -> AbstractContextManager[WaitingClients]:
    id_commande, token = bench.shop.allocate_one(SPREAD[0])
    headers = {"Consistency-Token": token, "Prefer": f"wait={WAIT_S}"}
    address = bench.shop.served.address
    return waiting_clients(
        address, http_messages.get(f"/allocations/{id_commande}", address, headers), number
    )


@contextmanager
def _held_back(url: str) -> Iterator[None]:
    """Keep the view from what is written meanwhile."""
    with psycopg.connect(libpq_url(url)) as connection:
        connection.execute(_HOLD, [VIEW])
        yield
