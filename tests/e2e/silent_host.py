"""A way to a server on which everything may fall silent, as behind a network that drops packets."""

import multiprocessing
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from tests.waiting import PATIENCE_S

HOST = "127.0.0.1"
BLOCK = 1 << 16


class SilentHost:
    """Forwards connections to a port, until `fall_silent`: nothing comes through then, and nothing ends.

    What was connected by then stays silent for good, as after the loss of a router that knew of it; what is
    connected after `speak` comes through again. It is a process of its own, so that it is fast.
    """

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._orders, orders = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_forward, args=(self._listener, port, orders), daemon=True)

    def fall_silent(self) -> None:
        """Let nothing through any more, and forget who is connected."""
        self._order("silent")

    def speak(self) -> None:
        """Let new connections through again."""
        self._order("speaking")

    @contextmanager
    def forwarding(self) -> Iterator["SilentHost"]:
        """While the context is open, connections are taken."""
        self._process.start()
        try:
            self._order("speaking")
            yield self
        finally:
            self._process.kill()
            self._process.join()
            self._listener.close()

    def _order(self, what: str) -> None:
        self._orders.send(what)
        assert self._orders.poll(PATIENCE_S)
        self._orders.recv()


def _forward(listener: socket.socket, port: int, orders: Connection) -> None:
    _Forwarder(listener, port, orders).run()


class _Forwarder:
    """What the process does."""

    def __init__(self, listener: socket.socket, port: int, orders: Connection) -> None:
        self._listener = listener
        self._target = (HOST, port)
        self._orders = orders
        self._selector = selectors.DefaultSelector()
        self._sockets: set[socket.socket] = set()
        self._forgotten: list[socket.socket] = []
        self._silent = False

    def run(self) -> None:
        """Forward until the process is killed."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._orders, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._orders:
                    self._obey()
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._sockets:
                    self._pass_on(key.fileobj, key.data)

    def _obey(self) -> None:
        self._silent = self._orders.recv() == "silent"
        if self._silent:
            for each in self._sockets:
                self._selector.unregister(each)
            self._forgotten += self._sockets
            self._sockets.clear()
        self._orders.send("done")

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._silent:
            self._forgotten.append(client)
            return
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(one)
            self._selector.register(one, selectors.EVENT_READ, other)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        block = b""
        with suppress(OSError):
            block = source.recv(BLOCK)
            target.sendall(block)
        if not block:
            for each in (source, target):
                self._sockets.discard(each)
                with suppress(KeyError):
                    self._selector.unregister(each)
                each.close()
