"""Whether the speed was honest: what was answered with success is there, once, and all agrees."""

import os
import subprocess

from benchmarks.contestants import Bench, HttpShop
from benchmarks.experiments.lag import wait_until_visible
from benchmarks.findings import Finding
from benchmarks.laboratory import fetch
from benchmarks.served import ALLOCATION
from benchmarks.shop import FEW_LINES

_ALLOCATED = "SELECT count(*) FROM allocations"


def soundness(bench: Bench) -> Finding:
    """Count, and let `allocation verify` compare."""
    bench.say("counting, and `allocation verify`")
    seeded = bench.sizes.lines + FEW_LINES
    [[end]] = fetch(bench.shop.url, "SELECT max(position) FROM journal")
    wait_until_visible(bench.shop.url, end)
    problems = [
        *_miscounted(bench.shop, seeded),
        *(problem for peer in bench.peers for problem in _miscounted(peer, bench.sizes.lines)),
        *_miscounted(bench.naive, 0),
        *_verified(bench.shop.url),
    ]
    others = (*bench.peers, bench.naive)
    remark = (
        f"{bench.shop.accepted:,} allocations were answered with success and {bench.shop.imported:,} were "
        f"imported; {', '.join(f'{each.name} answered {each.accepted:,}' for each in others)} with success."
    )
    return Finding(
        key="soundness",
        title="What was answered is what is there",
        how="After the load, the allocations in the database are counted against the successful answers, and "
        "`allocation verify` compares counters, journal and views with the write model.",
        series=(),
        remarks=[remark],
        problems=problems,
    )


def _miscounted(shop: HttpShop, seeded: int) -> list[str]:
    [[found]] = fetch(shop.url, _ALLOCATED)
    expected = seeded + shop.accepted + shop.imported
    return (
        []
        if found == expected
        else [f"{shop.name}: {found} allocations in the database, {expected} expected"]
    )


def _verified(url: str) -> list[str]:
    finished = subprocess.run(
        [ALLOCATION, "verify"],
        env=os.environ | {"ALLOCATION_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    return [f"allocation verify: {finished.stdout}{finished.stderr}"] if finished.returncode else []
