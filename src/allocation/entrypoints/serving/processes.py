"""The API server with its workers, and the projection worker, each in processes of its own."""

import logging
import multiprocessing
import os
import signal
import sys
import threading

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.listener import JournalListener, Waker
from allocation.adapters.postgresql.database import Database
from allocation.entrypoints.event_loop.rsgi_app import LoopApp
from allocation.entrypoints.flask_app import create_app
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.projections.projector import Projector
from allocation.projections.rebuild import Rebuilder
from allocation.service_layer.bootstrap import bootstrap, journal_followers, projection_followers

# For each API process: the connections, idle ones included. A request that waits costs little more than one.
CONNECTIONS = 16_384
# How long a request's headers may take, counted from the connection's start or the previous answer.
HEADERS_TIMEOUT_MS = 20_000
# Beside its connections: those to the database, the metrics' files, the program's own.
OTHER_FILES = 256
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
        target="allocation.entrypoints.event_loop.rsgi_app",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        websockets=False,
        workers=workers,
        backpressure=_allow_connections(),
        # HTTP/1.1 only: there, the time for a request's headers is limited from the connection's first byte.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_TIMEOUT_MS, max_buffer_size=MAX_HEADERS),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        log_level=LogLevels.error,
    )
    # It takes objects with the methods of RSGI as well as functions.
    server.serve(target_loader=_load_app, wrap_loader=False)  # type: ignore[arg-type]


def _allow_connections() -> int:
    """How many connections a process may have, once it may have as many files open as the system allows."""
    if sys.platform == "win32":
        return CONNECTIONS
    import resource  # noqa: PLC0415 - it does not exist on Windows

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = CONNECTIONS + OTHER_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return max(1, min(CONNECTIONS, most - OTHER_FILES))


def _load_app() -> LoopApp:
    """The app of one API process."""
    follow_parent()
    settings = Settings()
    configure_logging(settings.log_level)
    database = Database(
        settings.database_url or "",
        schema=settings.database_schema,
        read_url=settings.read_database_url,
        pool_size=settings.pool_size,
    )
    metrics = HttpMetrics(database)
    bus = bootstrap(database, settings=settings, inline=False, observer=metrics.group_commit)
    flask_app = create_app(bus, database, metrics=metrics, ready_max_lag=settings.ready_max_lag)
    return LoopApp(bus, database, flask_app, metrics, ready_max_lag=settings.ready_max_lag)


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
