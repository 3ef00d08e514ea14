"""The load generator: one process, one thread, raw sockets, so that it takes little from what it measures.

In a closed loop, every connection sends its next request as soon as the last one is answered. In an open
loop, requests are due at a constant rate whatever the server does, and a latency is counted from when its
request was due, however late it was sent.
"""

import math
import socket
import time
from collections.abc import Iterable, Iterator
from selectors import EVENT_READ, DefaultSelector
from typing import TypeAlias

from benchmarks.load_result import LoadResult

Address: TypeAlias = tuple[str, int]

ANSWER_TIMEOUT_S = 30.0
RECEIVE_BYTES = 65536
HEAD_END = b"\r\n\r\n"
# As HTTP libraries for Rust write it.
POSITION_HEADER = b"\r\nprojection-position: "


def drive(
    address: Address,
    requests: Iterable[bytes],
    *,
    connections: int,
    seconds: float = math.inf,
    rate: float | None = None,
) -> LoadResult:
    """Send `requests` until they or the `seconds` are over, and wait for the answers that are still due.

    With a `rate`, requests a second in an open loop; without, in a closed loop.
    """
    return _Driver(address, iter(requests), connections, seconds, rate).run()


class _Connection:
    """A connection that stays open, and the request that is under way on it."""

    __slots__ = ("due", "position", "received", "sent", "socket")

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)
        self.received = b""
        self.due: float | None = None
        self.position = 0
        self.sent = 0.0

    def send(self, request: bytes, due: float, now: float) -> None:
        """Start a request that was due at `due`. Raises OSError if the connection is gone."""
        self.due, self.sent, self.received = due, now, b""
        # Requests are far smaller than the buffer of a connection on which nothing else is under way.
        if self.socket.send(request) != len(request):
            raise OSError("the request did not fit into the socket's buffer")


class _Driver:
    """One load, from its first request to its last answer."""

    def __init__(
        self,
        address: Address,
        requests: Iterator[bytes],
        connections: int,
        seconds: float,
        rate: float | None,
    ) -> None:
        self._address = address
        self._requests = requests
        self._seconds = seconds
        self._interval = None if rate is None else 1 / rate
        self._selector = DefaultSelector()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._result = LoadResult()
        for _ in range(connections):
            self._connect()

    def run(self) -> LoadResult:
        """Carry the load out."""
        cpu, started = time.process_time(), time.perf_counter()
        self._due, self._end = started, started + self._seconds
        self._started, self._sent = started, 0
        with self._selector:
            while self._send_what_is_due() or self._busy:
                self._receive_answers()
            self._close()
        self._result.seconds = time.perf_counter() - started
        self._result.cpu_s = time.process_time() - cpu
        return self._result

    def _send_what_is_due(self) -> bool:
        """Whether there is, or will be, anything to send."""
        while self._idle:
            now = time.perf_counter()
            due = now if self._interval is None else self._due
            if due >= self._end:
                return False
            if due > now:
                return True
            request = next(self._requests, None)
            if request is None:
                self._end = -math.inf
                return False
            self._send(request, due, now)
        return self._end > -math.inf

    def _send(self, request: bytes, due: float, now: float) -> None:
        # Counted from the start: a sum of intervals would drift, and send one request too many.
        self._sent += 1
        self._due = self._started + self._sent * (self._interval or 0.0)
        connection = self._idle.pop()
        self._busy.add(connection)
        try:
            connection.send(request, due, now)
        except OSError:
            self._lose(connection)

    def _receive_answers(self) -> None:
        now = time.perf_counter()
        until_due = self._due - now if self._idle and self._interval and self._due < self._end else 1.0
        for key, _ in self._selector.select(min(max(until_due, 0.0), 1.0)):
            self._receive(key.data)
        if self._busy and self._end < now:
            self._give_up_on_the_silent(now)

    def _receive(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(RECEIVE_BYTES)
        except OSError:
            received = b""
        if not received:
            self._lose(connection)
            return
        connection.received += received
        status = status_of_whole(connection.received)
        if status is not None and connection.due is not None:
            self._result.add(status, time.perf_counter() - connection.due)
            self._note_position(connection)
            connection.due = None
            self._busy.remove(connection)
            self._idle.append(connection)

    def _note_position(self, connection: _Connection) -> None:
        _, found, position = connection.received.partition(POSITION_HEADER)
        if found:
            seen, connection.position = connection.position, int(position[:20].partition(b"\r\n")[0])
            self._result.went_back += connection.position < seen

    def _give_up_on_the_silent(self, now: float) -> None:
        for connection in [each for each in self._busy if now - each.sent > ANSWER_TIMEOUT_S]:
            self._lose(connection)

    def _lose(self, connection: _Connection) -> None:
        """Replace a connection that the server has closed; a request under way on it is lost."""
        if connection.due is not None:
            self._result.lost += 1
            self._busy.remove(connection)
        else:
            self._idle.remove(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._connect()

    def _connect(self) -> None:
        connection = _Connection(self._address)
        self._selector.register(connection.socket, EVENT_READ, connection)
        self._idle.append(connection)
        self._result.connected += 1

    def _close(self) -> None:
        for connection in self._idle:
            connection.socket.close()


def status_of_whole(answer: bytes) -> int | None:
    """The status of an answer that has arrived with its whole body; None while something is missing."""
    head, separator, body = answer.partition(HEAD_END)
    if not separator:
        return None
    _, found, length = head.lower().partition(b"content-length:")
    expected = int(length.partition(b"\r\n")[0]) if found else 0
    return int(head[9:12]) if len(body) >= expected else None
