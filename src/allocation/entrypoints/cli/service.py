"""Running the service, whole or in parts."""

import http.client
import os
import platform
import socket
import tempfile
from typing import Annotated

import typer

from allocation import __version__
from allocation.entrypoints.cli.console import fail, out

TICK_S = 1.0
READY_POLL_S = 0.05


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: allocation serve --port 8080 --workers 4")(serve)
    app.command(epilog="Example: ALLOCATION_DATABASE_URL=postgresql://user@db/shop allocation worker")(worker)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    workers: Annotated[
        int | None, typer.Option(help="API processes. [default: one for each core]", min=1, max=64)
    ] = None,
) -> None:
    """Serve the API and keep its views up to date, until Ctrl-C or SIGTERM.

    Without ALLOCATION_DATABASE_URL, an embedded PostgreSQL is started; its data is under ALLOCATION_DATA_DIR.
    """
    from allocation.adapters.configuration import Settings
    from allocation.adapters.database import Database
    from allocation.entrypoints.cli.database import database_url, prepare
    from allocation.entrypoints.supervisor import Child, fork_where_it_is_safe, supervise

    settings = Settings()
    _refuse_used_port(host, port)
    fork_where_it_is_safe()
    with tempfile.TemporaryDirectory(prefix="allocation-metrics-") as metrics_dir:
        # Before the import of Prometheus' library, which looks at it once: whether there are many processes.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        from allocation.entrypoints import processes

        processes.configure_logging(settings.log_level)
        with database_url(settings) as (url, embedded):
            with Database(url) as database:
                prepare(database, settings)
                postgresql = f"PostgreSQL {database.server_version()}"
            # The children are configured by their environment, as they would be without this supervisor.
            os.environ["ALLOCATION_DATABASE_URL"] = url
            children = [
                Child("api", processes.run_api, host, port, workers or os.cpu_count() or 1),
                Child("projection worker", processes.run_worker_from_environment),
            ]
            place = "ALLOCATION_DATABASE_URL" if embedded is None else str(settings.data_dir)
            announcement = _Announcement(host, port, f"{postgresql} ({place})")

            def each_tick() -> float:
                if embedded is not None:
                    embedded.keep_running()
                return TICK_S if announcement.made() else READY_POLL_S

            supervise(children, each_tick)


def worker() -> None:
    """Keep projections and subscriptions up to date, until Ctrl-C or SIGTERM: one part of `serve`."""
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.cli.database import prepared_database
    from allocation.entrypoints.processes import configure_logging, run_worker

    settings = Settings()
    configure_logging(settings.log_level)
    with prepared_database(settings) as database:
        run_worker(database, settings)


def _refuse_used_port(host: str, port: int) -> None:
    """The API's processes share their port: they would share it with a stranger's as well."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        fail(f"cannot listen on {host}:{port}: {reason}. Another port: allocation serve --port N")
        raise typer.Exit(1) from error


class _Announcement:
    """What is printed once, when the service is ready."""

    def __init__(self, host: str, port: int, storage: str) -> None:
        self._host = host
        self._port = port
        self._storage = storage
        self._made = False

    def made(self) -> bool:
        """Whether it is printed, which happens now if it can."""
        if not self._made and _is_ready(self._host, self._port):
            self._made = True
            self._print()
        return self._made

    def _print(self) -> None:
        url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"
        out.print(f"[bold green]Allocation {__version__} is ready:[/] [link={url}/docs]{url}/docs[/link]")
        out.print(f"  health    {url}/health/ready")
        out.print(f"  storage   {self._storage}", soft_wrap=True)
        out.print(f"  runs on   Python {platform.python_version()}")
        out.print("  Ctrl-C stops it.")


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
