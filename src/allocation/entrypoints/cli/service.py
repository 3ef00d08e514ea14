"""Running the service, whole or in parts."""

import http.client
import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.text import Text

from allocation import __version__
from allocation.entrypoints.cli.console import fail, out

if TYPE_CHECKING:
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.serving.listening import Address

TICK_S = 1.0
READY_POLL_S = 0.05


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: allocation serve --port 8080 --workers 4")(serve)
    app.command(epilog="Example: ALLOCATION_DATABASE_URL=postgresql://user@db/shop allocation worker")(worker)


def serve(
    host: Annotated[str, typer.Option(help="Address or host name to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    workers: Annotated[
        int | None, typer.Option(help="API processes. [default: one per core]", min=1, max=64)
    ] = None,
) -> None:
    """Serve the API and keep its views up to date, until Ctrl-C or SIGTERM.

    Without ALLOCATION_DATABASE_URL, an embedded PostgreSQL is started, with its data in ALLOCATION_DATA_DIR.
    """
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.serving.listening import CannotListen, held_address
    from allocation.entrypoints.serving.metrics_directory import metrics_directory
    from allocation.entrypoints.serving.supervisor import fork_where_it_is_safe

    settings = Settings()
    try:
        with held_address(host, port) as address, metrics_directory(_metrics_place(settings)) as metrics:
            fork_where_it_is_safe()
            # Set before prometheus_client is imported, which reads it only once, at import.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
            _serve(settings, address, address.url(host), metrics, workers or os.cpu_count() or 1)
    except CannotListen as error:
        fail(str(error))
        raise typer.Exit(1) from error


def _serve(settings: "Settings", address: "Address", url: str, metrics: Path, workers: int) -> None:
    from allocation.adapters.postgresql.connection_shares import needed, share_out
    from allocation.adapters.postgresql.database import Database
    from allocation.entrypoints.database import database_url, prepare
    from allocation.entrypoints.serving import processes
    from allocation.entrypoints.serving.supervisor import Child, supervise

    processes.configure_logging(settings.log_level)
    with database_url(settings, connections=needed(workers, settings.pool_size)) as (storage_url, embedded):
        with Database(storage_url, schema=settings.database_schema) as database:
            prepare(database, settings)
            pool_size = share_out(database, workers, settings.pool_size)
            postgresql = f"PostgreSQL {database.server_version()}"
        # The children read their configuration from the environment, as they would without a supervisor.
        os.environ["ALLOCATION_DATABASE_URL"] = storage_url
        os.environ["ALLOCATION_POOL_SIZE"] = str(pool_size)
        children = [
            Child("api", processes.run_api, address.ip, address.port, workers),
            Child("projection worker", processes.run_worker_from_environment),
        ]
        place = "ALLOCATION_DATABASE_URL" if embedded is None else str(settings.data_dir)
        announcement = _Announcement(address, url, f"{postgresql} ({place})")

        def each_tick() -> float:
            if embedded is not None:
                embedded.keep_running()
            # A replacement process could not start without it. (On a full disk, the next tick tries again.)
            with suppress(OSError):
                metrics.mkdir(mode=0o700, parents=True, exist_ok=True)
            return TICK_S if announcement.made() else READY_POLL_S

        supervise(children, each_tick)


def worker() -> None:
    """Run projections and subscriptions, without the API, until Ctrl-C or SIGTERM."""
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.database import prepared_database
    from allocation.entrypoints.serving.processes import configure_logging, run_worker

    settings = Settings()
    configure_logging(settings.log_level)
    with prepared_database(settings) as database:
        run_worker(database, settings)


def _metrics_place(settings: "Settings") -> Path:
    """A folder that no clean-up job empties: the data directory if there is one on this machine."""
    from allocation.adapters.embedded.data_directory import make_data_dir

    if settings.database_url is None:
        return make_data_dir(settings.data_dir)
    return settings.data_dir if os.access(settings.data_dir, os.W_OK) else Path(tempfile.gettempdir())


class _Announcement:
    """The lines that are printed once, when the service is ready."""

    def __init__(self, address: "Address", url: str, storage: str) -> None:
        self._address = address
        self._url = url
        self._storage = storage
        self._made = False

    def made(self) -> bool:
        """Print it if the service has become ready; return whether it has been printed."""
        if not self._made and _is_ready(self._address):
            self._made = True
            self._print()
        return self._made

    def _print(self) -> None:
        docs = f"{self._url}/docs"
        out.print(Text(f"Allocation {__version__} is ready: ", "bold green") + Text(docs, f"link {docs}"))
        for name, value in (
            ("health", f"{self._url}/health/ready"),
            ("storage", self._storage),
            ("runs on", f"Python {platform.python_version()}"),
        ):
            out.print(f"  {name:9} {value}", markup=False, soft_wrap=True)
        out.print("  Ctrl-C stops it.")


def _is_ready(address: "Address") -> bool:
    connection = http.client.HTTPConnection(urlsplit(address.url()).netloc, timeout=1)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
