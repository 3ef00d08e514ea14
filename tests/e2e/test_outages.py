"""The database is away in every way that databases are, under load: nobody is misled, and nothing is lost.

Throughout an outage, every answer is a success, a refusal by the domain, or 503, and the service says that it
is not ready. What was answered 201 is there afterwards, and the views follow by themselves.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory
from typing import TypeAlias

import httpx
import pytest
from tests.conftest import find_free_port
from tests.e2e.conftest import Service
from tests.e2e.own_server import DATABASE, HOST, OWNER, OwnServer, own_server, server_directory
from tests.e2e.shoppers import AWAY, Shoppers
from tests.e2e.silent_host import SilentHost
from tests.waiting import eventually

CLIENTS = 8
SKUS = 20
# Before an outage, and after it, the shop is busy for so many orders.
BUSY = 100
OUTAGE_S = float(os.environ.get("TEST_OUTAGE_S", "20"))
DISK_MIB = 200


@dataclass
class Place:
    """Where the shop's data is, the way there, and who takes over when it is lost."""

    primary: OwnServer
    way: SilentHost
    standby: OwnServer

    @property
    def serving(self) -> OwnServer:
        """The server that has the shop's data now."""
        return self.primary if self.primary.runs else self.standby


Outage: TypeAlias = Callable[[Place], AbstractContextManager[None]]


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    """A server that nobody has promoted yet."""
    place.primary.restart_as_standby()
    yield
    place.primary.promote()


@contextmanager
def restart(place: Place) -> Iterator[None]:
    """It crashes, and is started again, at once and after a while."""
    place.primary.kill()
    place.primary.start()
    place.primary.stop("immediate")
    yield
    place.primary.start()


@contextmanager
def standby_promoted(place: Place) -> Iterator[None]:
    """It is lost; another one that has everything takes its place."""
    place.primary.kill()
    yield
    place.standby.promote()


@contextmanager
def silent_host(place: Place) -> Iterator[None]:
    """Nothing comes from there, not even that the connections have ended."""
    place.way.fall_silent()
    yield
    place.way.speak()


@contextmanager
def connection_limit(place: Place) -> Iterator[None]:
    """No connection is left for the shop."""
    with place.primary.administration("postgres") as connection:
        connection.execute(f"ALTER ROLE {OWNER} CONNECTION LIMIT 0")
        place.primary.disconnect()
        yield
        connection.execute(f"ALTER ROLE {OWNER} CONNECTION LIMIT -1")


@contextmanager
def disk_full(place: Place) -> Iterator[None]:
    """Something else has filled the disk; who looks after the server frees it, and starts it if need be."""
    filler = place.primary.directory / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    yield
    filler.unlink()
    place.primary.start()


@contextmanager
def role_locked_out(place: Place) -> Iterator[None]:
    """The shop's role may not connect any more."""
    with place.primary.administration("postgres") as connection:
        connection.execute(f"ALTER ROLE {OWNER} NOLOGIN")
        place.primary.disconnect()
        yield
        connection.execute(f"ALTER ROLE {OWNER} LOGIN")


@pytest.fixture
def place() -> Iterator[Place]:
    """Two servers, the second of which has whatever the first has answered for, on a small disk."""
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk())
        primary = stack.enter_context(own_server(stack.enter_context(server_directory(disk))))
        standby = OwnServer(stack.enter_context(server_directory()))
        stack.callback(standby.stop, "immediate")
        way = stack.enter_context(SilentHost(primary.port).forwarding())
        yield Place(primary, way, standby)


@contextmanager
def _small_disk() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    with TemporaryDirectory(prefix="allocation-disk-") as directory:
        run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "none", directory], check=True)
        try:
            yield Path(directory)
        finally:
            run(["umount", "--lazy", directory], check=True)


@contextmanager
def served(url: str) -> Iterator[Service]:
    with TemporaryDirectory(prefix="allocation-e2e-") as directory:
        service = Service(
            Path(directory), find_free_port(), None, "--workers", "2", ALLOCATION_DATABASE_URL=url
        )
        try:
            service.start()
            yield service
        finally:
            service.stop()


@pytest.mark.parametrize(
    "outage",
    [read_only, restart, standby_promoted, silent_host, connection_limit, disk_full, role_locked_out],
    ids=lambda outage: outage.__name__,
)
def test_une_panne_ne_trompe_personne_et_ne_perd_rien(
    place: Place, outage: Outage, record_property: Callable[[str, object], None]
) -> None:
    url = place.primary.url(place.way.port)
    if outage is standby_promoted:
        place.standby.copy(place.primary)
        place.primary.wait_for_standbys()
        url = f"postgresql://{OWNER}@{HOST}:{place.way.port},{HOST}:{place.standby.port}/{DATABASE}"
    with served(url) as service:
        shoppers = Shoppers(service.url, SKUS, seed=1)
        shoppers.receive_lots()
        with shoppers.shopping(CLIENTS):
            _wait_for_orders(shoppers)
            shoppers.ready.clear()
            with outage(place):
                # What is measured is an outage of this length.
                threading.Event().wait(OUTAGE_S)
            ended = time.monotonic()
            _wait_for_orders(shoppers)
            _wait_until_caught_up(place.serving)
            eventually(lambda: httpx.get(f"{service.url}/health/ready").status_code == httpx.codes.OK)
            record_property("caught_up_s", round(time.monotonic() - ended, 1))
        _wait_until_caught_up(place.serving)

        assert not shoppers.surprises
        assert shoppers.ready[AWAY]
        assert _allocated(place.serving) >= shoppers.promised.items()


def _wait_for_orders(shoppers: Shoppers) -> None:
    """Return when the shop has taken some more orders."""
    enough = len(shoppers.promised) + BUSY
    eventually(lambda: len(shoppers.promised) >= enough)


def _wait_until_caught_up(server: OwnServer) -> None:
    """Return when every view shows what the journal has by now."""
    with server.administration() as connection:
        end = connection.execute("SELECT max(position) FROM journal").fetchone()
        late = "SELECT name FROM projections WHERE position < %s"
        eventually(lambda: not connection.execute(late, end).fetchall())


def _allocated(server: OwnServer) -> set[tuple[str, str]]:
    """The orders that the write model and the view both hold, with their SKUs."""
    held = """
        SELECT id_commande, sku FROM order_lines JOIN allocations USING (sku, rang)
        INTERSECT SELECT id_commande, sku FROM allocations_view
    """
    with server.administration() as connection:
        return {(order, sku) for order, sku in connection.execute(held)}
