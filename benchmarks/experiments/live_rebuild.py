"""Rebuilding two read models while orders come in and are read."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks import http_messages
from benchmarks.contestants import Bench
from benchmarks.experiments.lag import (
    CLIENTS,
    RATE,
    SHED,
    end_of_journal,
    lags,
    percentile,
    wait_until_visible,
    watching,
)
from benchmarks.findings import Figure, Finding, Series, Unit, answers, at_least, at_most, failures_in
from benchmarks.load import Address, drive
from benchmarks.load_result import LoadResult
from benchmarks.rounds import note
from benchmarks.served import ALLOCATION
from benchmarks.shop import SPREAD

READERS = 8
VIEWS = ("allocations_view", "stock_view")


def live_rebuild(bench: Bench) -> Finding:
    """1,000 allocations a second and as many reads as some clients can make, while both views are rebuilt."""
    url, seconds = bench.shop.url, bench.sizes.rebuild_seconds
    tail = Series("lag while rebuilding, p99", Unit.MILLISECONDS)
    achieved = Series(f"allocations achieved of {RATE:,}/s", Unit.RATE)
    read, rebuilt = Series(f"orders read by {READERS} clients", Unit.RATE), Series("rebuilds", Unit.SECONDS)
    start = end_of_journal(url)
    bench.say(f"rebuilding under load for {seconds:g} s")
    with (
        watching(url) as sightings,
        _reading(bench.shop.served.address, bench.sizes.lines, seconds) as reads,
        _rebuilding(url) as rebuilds,
    ):
        load = bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=seconds, rate=RATE)
        wait_until_visible(url, end_of_journal(url))
    of_events = lags(url, start, sightings)
    tail.values, rebuilt.values = [percentile(of_events, 99)], rebuilds
    note(achieved, load)
    read.values, read.loads = [reads[0].rate], reads
    return Finding(
        key="live-rebuild",
        title="Rebuilding while it serves",
        how=f"`allocation rebuild` of {' and '.join(VIEWS)}, one after the other, under an open loop of "
        f"{RATE:,} allocations a second on 200 SKUs and a closed loop of {READERS} clients that read random "
        "orders. Lag as above. A read that is not answered 200, or that is answered from an older position "
        "than its client has seen, makes the run fail.",
        series=(tail, achieved, read, rebuilt),
        figures=(
            Figure("lag while rebuilding, p99", tail, at_most(150, Unit.MILLISECONDS)),
            Figure(
                f"allocations achieved of {RATE:,}/s while rebuilding", achieved, at_least(950, Unit.RATE)
            ),
        ),
        remarks=[
            f"The reads' answers: {answers(read)}; {reads[0].went_back} of them were from an older position.",
            f"The allocations' answers: {answers(achieved)}.",
        ],
        problems=[
            *failures_in(read),
            *(["reads went back in time"] if reads[0].went_back else []),
            *(failures_in(achieved) if load.failed > load.statuses[SHED] else []),
        ],
    )


@contextmanager
def _rebuilding(url: str) -> Iterator[list[float]]:
    """The seconds that each rebuild took, complete when the context is left. Raises CalledProcessError."""
    environment = os.environ | {"ALLOCATION_DATABASE_URL": url}
    script = " && ".join(f"{ALLOCATION} rebuild {view} --json" for view in VIEWS)
    seconds: list[float] = []
    with subprocess.Popen(["/bin/sh", "-c", script], env=environment, stdout=subprocess.PIPE) as process:
        yield seconds
        output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, script)
    seconds += [_seconds(json.loads(line)) for line in output.splitlines()]


def _seconds(state: dict[str, str]) -> float:
    begun, ended = (datetime.fromisoformat(state[name]) for name in ("demandé_le", "mis_à_jour_le"))
    return (ended - begun).total_seconds()


@contextmanager
def _reading(address: Address, orders: int, seconds: float) -> Iterator[list[LoadResult]]:
    """What comes of reads by a process of its own; there when the context is left."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=read_orders, args=[address, orders, seconds, sender], daemon=True)
    process.start()
    results: list[LoadResult] = []
    yield results
    results.append(receiver.recv())
    process.join()


def read_orders(address: Address, orders: int, seconds: float, sender: Connection) -> None:
    """Read random orders for so long, and send what came of it."""
    requests = http_messages.order_reads(address, orders)
    sender.send(drive(address, requests, connections=READERS, seconds=seconds))
