"""Where and on what a run was made."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = (
    *("flask", "granian", "psycopg", "sqlalchemy"),
    *("asyncpg", "fastapi", "gunicorn", "uvicorn", "uvloop"),
)
GIB = 2**30


def describe(postgresql: Mapping[str, str]) -> dict[str, str]:
    """Facts about the machine, the programs, and how busy the machine was before."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{psutil.virtual_memory().total / GIB:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "PostgreSQL": ", ".join(f"{name} {value}" for name, value in postgresql.items()),
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    finished = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return finished.stdout.strip() or "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
