"""Programs that serve HTTP, started as users start them, and stopped when they are no longer needed."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.laboratory import libpq_url, sqlalchemy_url
from benchmarks.load import Address

HOST = "127.0.0.1"
WORKERS = 2
READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
POLL_S = 0.005

PEER = "benchmarks.peers.app:app"
ALLOCATION = Path(sys.executable).with_name("allocation")


class NotReady(Exception):
    """The program ended, or did not answer in time; carries what it logged."""


class Served:
    """A program that answers at `address`."""

    def __init__(self, command: Sequence[str], address: Address, environment: Mapping[str, str]) -> None:
        self.address = address
        self._directory = TemporaryDirectory(prefix="allocation-bench-served-")
        self._log = Path(self._directory.name, "log")
        self._started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def wait_until_ready(self, path: str) -> float:
        """Seconds from the start to the first answer 200 at `path`. Raises NotReady."""
        while (status := _status(self.address, path)) != HTTPStatus.OK:
            elapsed = time.perf_counter() - self._started
            if self._process.poll() is not None or elapsed > READY_TIMEOUT_S:
                raise NotReady(f"{path} answers {status}: {self._log.read_text(errors='replace')}")
            time.sleep(POLL_S)
        return time.perf_counter() - self._started

    def stop(self) -> None:
        """Ask the program to stop, and wait until it has."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_TIMEOUT_S)
        self._directory.cleanup()


@contextmanager
def allocation_service(environment: Mapping[str, str]) -> Iterator[tuple[Served, float]]:
    """`allocation serve` with two API workers, and the seconds until it was ready. Raises NotReady."""
    port = _free_port()
    command = [str(ALLOCATION), "serve", "--port", str(port), "--workers", str(WORKERS)]
    with _running(command, port, environment, "/health/ready") as ready:
        yield ready


@contextmanager
def naive_service(url: str) -> Iterator[Served]:
    """The naive implementation on Gunicorn: two workers, a thread for each of 32 clients. Raises NotReady."""
    port = _free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{port}", "--log-level", "critical"]
    options = ["--workers", str(WORKERS), "--threads", "16", "--keep-alive", "75"]
    command = [*gunicorn, *options, "benchmarks.naive.flask_app:from_environment()"]
    with _running(command, port, {"NAIVE_DATABASE_URL": sqlalchemy_url(url)}, "/health") as (served, _):
        yield served


@contextmanager
def uvicorn_peer(url: str) -> Iterator[Served]:
    """The peer on Uvicorn. Raises NotReady."""
    port = _free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    place = ["--host", HOST, "--port", str(port), "--workers", str(WORKERS)]
    with _peer([sys.executable, "-m", "uvicorn", *options, *place, PEER], port, url) as served:
        yield served


@contextmanager
def granian_peer(url: str) -> Iterator[Served]:
    """The peer on Granian. Raises NotReady."""
    port = _free_port()
    server = ["--interface", "asgi", "--loop", "uvloop", "--http", "1", "--no-ws", "--log-level", "warning"]
    # A worker that is asked to stop while it starts goes on.
    options = [*server, "--workers-kill-timeout", "5"]
    place = ["--host", HOST, "--port", str(port), "--workers", str(WORKERS)]
    with _peer([sys.executable, "-m", "granian", *options, *place, PEER], port, url) as served:
        yield served


@contextmanager
def _peer(command: Sequence[str], port: int, url: str) -> Iterator[Served]:
    with _running(command, port, {"PEER_DATABASE_URL": libpq_url(url)}, "/health") as (served, _):
        yield served


@contextmanager
def _running(
    command: Sequence[str], port: int, environment: Mapping[str, str], ready_path: str
) -> Iterator[tuple[Served, float]]:
    served = Served(command, (HOST, port), environment)
    try:
        yield served, served.wait_until_ready(ready_path)
    finally:
        served.stop()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _status(address: Address, path: str) -> int | None:
    """The status of the answer; None while nobody answers."""
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
