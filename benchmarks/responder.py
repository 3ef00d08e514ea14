"""A server that does nothing but answer: against it, the load generator shows its own limit."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from selectors import EVENT_READ, DefaultSelector

from benchmarks.load import HEAD_END, RECEIVE_BYTES, Address

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status": "ok"}'
)


START_TIMEOUT_S = 30


class ResponderSilent(Exception):
    """The responder's process does not run."""

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(
            f"the responder's process has not started within {START_TIMEOUT_S} s"
            if exitcode is None
            else f"the responder's process has ended with exit code {exitcode}; a process that is spawned "
            'imports the main module again, which must start its work under `if __name__ == "__main__":`'
        )


@contextmanager
def responder() -> Iterator[Address]:
    """The address of a responder in a process of its own, which answers. Raises ResponderSilent."""
    context = get_context("spawn")
    started, starting = context.Pipe(duplex=False)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, started, starting:
        process = context.Process(target=respond, args=[listener, starting], daemon=True)
        process.start()
        try:
            happened = wait([started, process.sentinel], START_TIMEOUT_S)
            if process.sentinel in happened:
                process.join()
            if started not in happened:
                raise ResponderSilent(process.exitcode)
            yield listener.getsockname()
        finally:
            process.terminate()
            process.join()


def respond(listener: socket.socket, starting: Connection) -> None:
    """Say that it runs, then answer every request on every connection, without end."""
    starting.send(None)
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
