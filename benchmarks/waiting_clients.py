"""Clients that have asked and wait: many connections, on which nothing else is sent."""

import resource
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from select import POLLIN, poll

from benchmarks.load import ANSWER_TIMEOUT_S, RECEIVE_BYTES, Address, status_of_whole

# Beside the clients' connections: other clients, the database, the program's own files.
OTHER_FILES = 1000


class WaitingClients:
    """Connections on which one request each was sent; made by `waiting_clients`."""

    def __init__(self, connections: Sequence[socket.socket]) -> None:
        self._connections = connections

    @property
    def answered(self) -> int:
        """How many have an answer already, or have lost their connection."""
        ready = poll()
        for connection in self._connections:
            ready.register(connection, POLLIN)
        return len(ready.poll(0))

    def statuses(self) -> Counter[int]:
        """How many get which status; whoever gets no whole answer in time counts as 0."""
        return Counter(map(_status, self._connections))


def clients_allowed(wanted: int) -> int:
    """How many of the `wanted` clients this process may have, once it may open as many files as it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, wanted + OTHER_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, hard - OTHER_FILES)


@contextmanager
def waiting_clients(address: Address, request: bytes, number: int) -> Iterator[WaitingClients]:
    """So many clients, each of which has sent the request. Raises OSError."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(address, timeout=ANSWER_TIMEOUT_S))
            for _ in range(number)
        ]
        for connection in connections:
            connection.sendall(request)
        yield WaitingClients(connections)


def _status(connection: socket.socket) -> int:
    received = b""
    while (status := status_of_whole(received)) is None:
        try:
            more = connection.recv(RECEIVE_BYTES)
        except OSError:
            return 0
        if not more:
            return 0
        received += more
    return status
