"""How long after its commit an allocation is visible in the read model, under a constant load."""

import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import TypeAlias

import psycopg

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, answers, at_least, at_most, failures_in
from benchmarks.laboratory import fetch, libpq_url
from benchmarks.rounds import note
from benchmarks.shop import SPREAD

RATE = 1000
CLIENTS = 128
POLL_S = 0.002
PATIENCE_S = 600
SHED = 503
VIEW = "allocations_view"

_CHECKPOINT = "SELECT position, clock_timestamp() FROM projections WHERE name = %s"
_EVENTS = "SELECT position, survenu_le FROM journal WHERE position > %(start)s ORDER BY position"
_END = "SELECT coalesce(max(position), 0) FROM journal"

Sighting: TypeAlias = tuple[int, datetime]


def lag(bench: Bench) -> Finding:
    """1,000 allocations a second on 200 SKUs, and a poller that watches the checkpoint of the view."""
    median, tail = Series("lag, p50", Unit.MILLISECONDS), Series("lag, p99", Unit.MILLISECONDS)
    achieved = Series(f"allocations achieved of {RATE:,}/s", Unit.RATE)
    bench.say(f"{bench.sizes.steady_seconds} s at {RATE}/s")
    start = end_of_journal(bench.shop.url)
    with watching(bench.shop.url) as sightings:
        load = bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=bench.sizes.steady_seconds, rate=RATE)
        wait_until_visible(bench.shop.url, end_of_journal(bench.shop.url))
    of_events = lags(bench.shop.url, start, sightings)
    median.values, tail.values = [percentile(of_events, 50)], [percentile(of_events, 99)]
    note(achieved, load)
    return Finding(
        key="lag",
        title="From the commit to the read model",
        how=f"An open loop of {RATE:,} allocations a second on 200 SKUs. For every event, the time from "
        "`survenu_le` to when another connection, which looks every 2 ms, sees the checkpoint of "
        f"{VIEW} at the event or after it. The time of the commit itself is part of it.",
        series=(median, tail, achieved),
        figures=(
            Figure(f"lag at {RATE:,} allocations/s, p99", tail, at_most(60, Unit.MILLISECONDS)),
            Figure(f"allocations achieved of {RATE:,}/s", achieved, at_least(0.95 * RATE, Unit.RATE)),
        ),
        remarks=[
            f"The answers: {answers(achieved)}. 503 is how an overloaded service sheds what it can't do."
        ],
        problems=failures_in(achieved) if load.failed > load.statuses[SHED] else [],
    )


def wait_until_visible(url: str, position: int) -> None:
    """Return once the read model has come to `position`. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while fetch(url, "SELECT min(position) FROM projections")[0][0] < position:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the read models have not come to position {position} within {PATIENCE_S} s")
        time.sleep(POLL_S)


def lags(url: str, start: int, sightings: Sequence[Sighting]) -> list[float]:
    """The lag of every event after position `start`, in milliseconds, the shortest first."""
    return sorted(_lags_ms(fetch(url, _EVENTS, start=start), sightings))


def end_of_journal(url: str) -> int:
    """The position of the newest event."""
    [[end]] = fetch(url, _END)
    return int(end)


@contextmanager
def watching(url: str) -> Iterator[list[Sighting]]:
    """Each position that a process of its own sees, and when; complete when the context is left."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    stop = context.Event()
    process = context.Process(target=watch, args=[libpq_url(url), stop, sender], daemon=True)
    process.start()
    sightings: list[Sighting] = [receiver.recv()]
    yield sightings
    stop.set()
    sightings += receiver.recv()
    process.join()


def watch(url: str, stop: Event, sender: Connection) -> None:
    """Send the position as it is at the start, then, when told to stop, all that were seen."""
    sightings: list[Sighting] = []
    with psycopg.connect(url, autocommit=True) as connection:
        sender.send(connection.execute(_CHECKPOINT, [VIEW]).fetchone())
        stopped = False
        while not stopped:
            stopped = stop.wait(POLL_S)
            for position, seen in connection.execute(_CHECKPOINT, [VIEW]):
                if not sightings or position > sightings[-1][0]:
                    sightings.append((position, seen))
    sender.send(sightings)


def _lags_ms(events: Sequence[Sighting], sightings: Sequence[Sighting]) -> Iterator[float]:
    positions = [position for position, _ in sightings]
    for position, occurred in events:
        _, seen = sightings[bisect_left(positions, position)]
        yield 1000 * (seen - occurred).total_seconds()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The least of the ordered values that so many percent are not above."""
    return ordered[math.ceil(percent / 100 * len(ordered)) - 1]
