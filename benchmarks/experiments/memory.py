"""Whether an API worker grows with what it has done."""

import psutil

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_most, failures_in
from benchmarks.served import Served
from benchmarks.shop import SPREAD

EARLY = 10_000
# As many as in any experiment, so that all threads of the workers have served before the first look: what
# they take when they are first used is not growth.
CLIENTS = 128
MIB = 2**20


class MemoryProbe:
    """Remembers how large the API workers were when `EARLY` allocations were made."""

    def __init__(self, bench: Bench) -> None:
        bench.say(f"the first {EARLY:,} allocations")
        self._loads = Series("allocations that were missing", Unit.RATE)
        self._fill_up(bench, EARLY)
        self._early = Series(f"after {bench.shop.accepted:,} allocations", Unit.MEBIBYTES)
        self._early.values = api_worker_sizes_mib(bench.shop.served)

    def finish(self, bench: Bench) -> Finding:
        """Compare with the size at the end, after as many allocations as the sizes ask for."""
        bench.say("what is missing of the allocations")
        self._fill_up(bench, bench.sizes.allocations_before_memory)
        late = Series(f"after {bench.shop.accepted:,} allocations", Unit.MEBIBYTES)
        late.values = api_worker_sizes_mib(bench.shop.served)
        return Finding(
            key="memory",
            title="Memory of an API worker",
            how="Proportional set size of the API workers (resident set size where the system has no other), "
            "the median of the two, after the allocations of all that was measured before. The first ones "
            f"came from {CLIENTS} clients: every thread that answers requests was in use.",
            series=(self._early, late),
            figures=[
                Figure(
                    f"memory after {bench.shop.accepted:,} allocations, to {EARLY:,}",
                    late,
                    at_most(1.1),
                    self._early,
                )
            ],
            problems=failures_in(self._loads),
        )

    def _fill_up(self, bench: Bench, wanted: int) -> None:
        missing = max(wanted - bench.shop.accepted, 0)
        self._loads.loads.append(bench.shop.allocate(*SPREAD, clients=CLIENTS, lines=missing))


def api_worker_sizes_mib(served: Served) -> list[float]:
    """The size of each process that serves requests: those below the API's parent process."""
    supervisor = psutil.Process(served.pid)
    workers = [grandchild for child in supervisor.children() for grandchild in child.children()]
    return [_size(worker) / MIB for worker in workers]


def _size(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))
