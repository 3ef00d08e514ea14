"""Importing a file of orders, against the same orders over HTTP."""

import csv
import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contestants import Bench
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, failures_in
from benchmarks.load_result import LoadResult
from benchmarks.rounds import note
from benchmarks.served import ALLOCATION
from benchmarks.shop import receive

SKUS = [f"IMPORT-{number}" for number in range(1, 1001)]
CLIENTS = 32


def importing(bench: Bench) -> Finding:
    """`allocation import commandes` beside the idle service, between two rounds of orders over HTTP."""
    http, imported = Series("hot SKU over HTTP, 32 clients", Unit.RATE), Series("import, lines", Unit.RATE)
    problems: list[str] = []
    for number in (1, 2):
        note(http, _hot(bench, number))
        if number == 1:
            bench.say(f"{bench.sizes.import_lines:,} lines from a file")
            note(imported, _import(bench, problems))
    return Finding(
        key="import",
        title="Importing orders",
        how=f"`allocation import commandes` of {bench.sizes.import_lines:,} lines for {len(SKUS):,} SKUs, "
        "until the views have them, in lines a second as it reports them; between two rounds of the hot SKU.",
        series=(http, imported),
        figures=[Figure("import, to the hot SKU over HTTP", imported, at_least(2), http)],
        problems=[*failures_in(http), *problems],
    )


def _hot(bench: Bench, number: int) -> LoadResult:
    bench.say(f"hot SKU over HTTP, round {number} of 2")
    sku = bench.shop.receive(f"IMPORT-CHAUD-{number}")
    return bench.shop.allocate(sku, clients=CLIENTS, seconds=bench.sizes.seconds)


def _import(bench: Bench, problems: list[str]) -> float:
    receive(bench.shop.url, SKUS)
    with TemporaryDirectory(prefix="allocation-bench-import-") as directory:
        path = Path(directory, "commandes.csv")
        _write_orders(path, bench.sizes.import_lines)
        finished = subprocess.run(
            [ALLOCATION, "import", "commandes", str(path), "--json"],
            env=os.environ | {"ALLOCATION_DATABASE_URL": bench.shop.url},
            capture_output=True,
            text=True,
            check=True,
        )
    summary = json.loads(finished.stdout)
    bench.shop.imported += summary["allocated"]
    if summary["allocated"] != bench.sizes.import_lines:
        problems.append(f"of {bench.sizes.import_lines} lines, the import reports {summary}")
    return float(summary["lines/s"])


def _write_orders(path: Path, lines: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id_commande", "sku", "quantité"])
        writer.writerows([f"import-{n}", SKUS[n % len(SKUS)], 1] for n in range(lines))
