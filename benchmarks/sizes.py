"""How much is measured: in a full run, and in a quick one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Rounds, seconds of one round, and how many rows and requests there are."""

    name: str
    rounds: int
    seconds: float
    slow_rounds: int
    lines: int
    pairs: int
    import_lines: int
    open_lots: int
    correction_lines: int
    steady_seconds: float
    overload_seconds: float
    waiting_reads: int
    rebuild_seconds: float
    starts: int
    allocations_before_memory: int


QUICK = Sizes(
    name="quick",
    rounds=2,
    seconds=1.5,
    slow_rounds=1,
    lines=50_000,
    pairs=100,
    import_lines=10_000,
    open_lots=2_000,
    correction_lines=5_000,
    steady_seconds=4,
    overload_seconds=4,
    waiting_reads=2_000,
    rebuild_seconds=6,
    starts=2,
    allocations_before_memory=20_000,
)
FULL = Sizes(
    name="full",
    rounds=5,
    seconds=4,
    slow_rounds=3,
    lines=1_000_000,
    pairs=500,
    import_lines=200_000,
    open_lots=10_000,
    correction_lines=20_000,
    steady_seconds=20,
    overload_seconds=30,
    waiting_reads=10_000,
    rebuild_seconds=60,
    starts=5,
    allocations_before_memory=100_000,
)
SOAK_ALLOCATIONS = 1_000_000
