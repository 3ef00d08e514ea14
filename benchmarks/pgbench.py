"""pgbench, PostgreSQL's own benchmark, as it comes with the embedded server: what plain SQL can do."""

import re
import subprocess
from pathlib import Path

from allocation.adapters.embedded.postgresql_programs import program
from benchmarks.laboratory import libpq_url

SCRIPTS = Path(__file__).with_name("pgbench_scripts")
_THREADS = 2
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


class PgbenchFailed(Exception):
    """pgbench did not run, or some of its transactions failed."""


def pgbench(url: str, script: str, *, clients: int, seconds: float, **variables: str | int) -> float:
    """Transactions a second, without the time to connect. Raises PgbenchFailed."""
    options = [f"--define={name}={value}" for name, value in variables.items()]
    command = [
        *(str(program("pgbench")), "--no-vacuum", "--protocol=prepared", f"--file={SCRIPTS / script}"),
        *(f"--client={clients}", f"--jobs={_THREADS}", f"--time={max(round(seconds), 1)}"),
        *(*options, libpq_url(url)),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    rate, failed = _RATE.search(finished.stdout), _FAILED.search(finished.stdout)
    if finished.returncode != 0 or rate is None or failed is None or int(failed[1]) > 0:
        raise PgbenchFailed(finished.stdout + finished.stderr)
    return float(rate[1])
