"""The API server with its workers, and the projection worker, each in processes of its own."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.listener import JournalListener, Waker
from allocation.adapters.postgresql.database import Database
from allocation.entrypoints import flask_app
from allocation.entrypoints.http.bodies import WholeRequests
from allocation.projections.projector import Projector
from allocation.projections.rebuild import Rebuilder
from allocation.service_layer.bootstrap import journal_followers, projection_followers

# For each API process: the requests worked on at a time, and the connections, idle ones included.
PLACES = 64
CONNECTIONS = 512
# How long a request's headers may take, counted from the connection's start or the previous answer; its body.
HEADERS_TIMEOUT_MS = 20_000
BODY_TIMEOUT_S = 10
# In bytes: more than any request to this service needs.
MAX_HEADERS = 16 * 1024
STOP_TIMEOUT_S = 20

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def configure_logging(level: str) -> None:
    """Log to standard error, one line per message, without the routine messages of libraries."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def follow_parent() -> None:
    """Stop this process, as SIGTERM would, as soon as its parent is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def run_api(host: str, port: int, workers: int) -> None:
    """Serve HTTP in `workers` processes until SIGTERM; requests under way are finished."""
    follow_parent()
    server = Granian(
        target="allocation.entrypoints.flask_app:app",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        # A thread for each connection, so that one waiting for a slow body is not missed.
        blocking_threads=CONNECTIONS,
        backpressure=CONNECTIONS,
        # HTTP/1.1 only: there, the time for a request's headers is limited from the connection's first byte.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_TIMEOUT_MS, max_buffer_size=MAX_HEADERS),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        log_level=LogLevels.error,
    )
    server.serve(target_loader=partial(_load_app, port), wrap_loader=False)


def _load_app(port: int) -> Callable[..., Any]:
    follow_parent()
    configure_logging(Settings().log_level)
    app = WholeRequests(flask_app.app, timeout_s=BODY_TIMEOUT_S, places=PLACES)
    threading.Thread(target=app.sweep_for_ever, args=(port,), name="slow-bodies", daemon=True).start()
    return in_one_piece(app)


def in_one_piece(app: Callable[..., Any]) -> Callable[..., list[bytes]]:
    """The app with each answer as a list: Granian sends a list at once, but iterates over anything else."""

    def answer(*request: Any) -> list[bytes]:
        with closing(app(*request)) as pieces:
            return list(pieces)

    return answer


def run_worker_from_environment() -> None:
    """`run_worker` as a process of its own."""
    follow_parent()
    settings = Settings()
    configure_logging(settings.log_level)
    with Database(settings.database_url or "", schema=settings.database_schema) as database:
        run_worker(database, settings)


def run_worker(database: Database, settings: Settings) -> None:
    """Run projections and subscriptions until SIGTERM or SIGINT."""
    # Blocked before any thread starts: threads inherit this, so that only `sigwait` receives the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    waker = Waker()
    followers = journal_followers(database, settings)
    rebuilders = [Rebuilder(database, each) for each in projection_followers(database, settings)]
    with (
        JournalListener(database.sessions, waker),
        Projector(followers, waker, poll_interval=settings.poll_interval, rebuilders=rebuilders),
    ):
        signal.sigwait(_STOP_SIGNALS)
