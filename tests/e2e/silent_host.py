"""A way to a server on which everything may fall silent, as behind a network that drops packets."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"
BLOCK = 1 << 16


class SilentHost:
    """Forwards connections to a port, until `fall_silent`: nothing comes through then, and nothing ends.

    What was connected by then stays silent for good, as after the loss of a router that knew of it; what is
    connected after `speak` comes through again.
    """

    def __init__(self, port: int) -> None:
        self._target = (HOST, port)
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._forgotten: list[socket.socket] = []
        self._silent = False
        self._over = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="silent-host")

    def fall_silent(self) -> None:
        """Let nothing through any more, and forget who is connected."""
        with self._lock:
            self._silent = True
            for each in self._sockets:
                self._selector.unregister(each)
            self._forgotten += self._sockets
            self._sockets = []

    def speak(self) -> None:
        """Let new connections through again."""
        with self._lock:
            self._silent = False

    @contextmanager
    def forwarding(self) -> Iterator["SilentHost"]:
        """While the context is open, connections are taken."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over = True
            self._thread.join()
            for each in (self._listener, *self._sockets, *self._forgotten):
                each.close()

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._sockets:
                        self._forward(key.fileobj, key.data)

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
            self._sockets.append(one)
            self._selector.register(one, selectors.EVENT_READ, other)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            block = source.recv(BLOCK)
            target.sendall(block)
        except OSError:
            block = b""
        if not block:
            for each in (source, target):
                self._sockets.remove(each)
                with suppress(KeyError):
                    self._selector.unregister(each)
                each.close()
