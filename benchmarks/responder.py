"""A server that does nothing but answer: against it, the load generator shows its own limit."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from selectors import EVENT_READ, DefaultSelector

from benchmarks.load import HEAD_END, RECEIVE_BYTES, Address

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status": "ok"}'
)


@contextmanager
def responder() -> Iterator[Address]:
    """The address of a responder in a process of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        process = get_context("spawn").Process(target=respond, args=[listener], daemon=True)
        process.start()
        try:
            yield listener.getsockname()
        finally:
            process.terminate()
            process.join()


def respond(listener: socket.socket) -> None:
    """Answer every request on every connection, without end."""
    with DefaultSelector() as selector:
        selector.register(listener, EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    selector.register(listener.accept()[0], EVENT_READ, data=listener)
                elif not _answer(key.fileobj):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)


def _answer(connection: socket.socket) -> bool:
    """Whether the connection is still open."""
    received = connection.recv(RECEIVE_BYTES)
    connection.send(ANSWER * received.count(HEAD_END))
    return bool(received)
