"""What keeping the read models up to date costs while orders come in."""

import psutil

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, at_most, failures_in
from benchmarks.rounds import note
from benchmarks.served import Served
from benchmarks.shop import SPREAD

RATE = 2000
CLIENTS = 64
ROUND_S = 8


def projecting(bench: Bench) -> Finding:
    """The processor time of the projection worker at 2,000 allocations a second on 200 SKUs."""
    share = Series("projection worker", Unit.CORES)
    achieved = Series(f"allocations achieved of {RATE:,}/s", Unit.RATE)
    worker = projection_worker(bench.shop.served)
    for _ in range(bench.sizes.slow_rounds):
        bench.say(f"{ROUND_S} s at {RATE}/s")
        before = _processor_s(worker)
        load = bench.shop.allocate(*SPREAD, clients=CLIENTS, seconds=ROUND_S, rate=RATE)
        note(share, (_processor_s(worker) - before) / load.seconds)
        note(achieved, load)
    return Finding(
        key="projecting",
        title="Keeping the read models up to date",
        how=f"An open loop of {RATE:,} allocations a second on 200 SKUs. The processor time that the "
        "projection worker took, of the user and of the system, by the time that passed.",
        series=(share, achieved),
        figures=(
            Figure(f"projection worker at {RATE:,} allocations/s", share, at_most(0.15, Unit.CORES)),
            Figure(f"allocations achieved of {RATE:,}/s", achieved, at_least(0.95 * RATE, Unit.RATE)),
        ),
        problems=failures_in(achieved),
    )


def projection_worker(served: Served) -> psutil.Process:
    """The process below the supervisor that has none below itself, unlike the API's parent."""
    [worker] = [child for child in psutil.Process(served.pid).children() if not child.children()]
    return worker


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
