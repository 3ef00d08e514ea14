"""A time limit for request bodies: a slow client is answered 408, and delays nobody else.

Granian's WSGI input blocks until the body has arrived, and can't be interrupted. So a body is read before its
request takes one of the limited places for processing; and a body that takes too long is ended by closing its
connection, which is found among the process's sockets by what the kernel says about them.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, TypeAlias

from werkzeug.exceptions import RequestTimeout

from allocation.entrypoints.http.connections import close_unanswered
from allocation.entrypoints.http.route import MAX_BODY

logger = logging.getLogger(__name__)

Environ: TypeAlias = dict[str, Any]
WsgiApp: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

SWEEP_S = 1.0


class WholeRequests:
    """The app, called only with complete requests, at most `places` at once; a body may take `timeout_s`."""

    def __init__(self, app: WsgiApp, *, timeout_s: float, places: int) -> None:
        self._app = app
        self._timeout_s = timeout_s
        self._places = threading.Semaphore(places)
        self._bodies = _UnderWay()
        self._requests = _UnderWay()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = self._body(environ)
        with self._requests.one(), self._places:
            return self._app(environ, start_response)

    def sweep_for_ever(self, port: int) -> None:
        """Close connections to `port` whose body is late, until the process ends."""
        while True:
            time.sleep(SWEEP_S)
            try:
                self.sweep(port)
            except OSError:
                logger.exception("connections could not be looked at")

    def sweep(self, port: int) -> None:
        """Close the connections whose body is late at this moment."""
        if not self._bodies.begun_before(time.monotonic() - self._timeout_s):
            return
        # Complete requests that take long to process are spared: their last byte arrived when they began.
        working = self._requests.begun_before(time.monotonic() - self._timeout_s / 2)
        closed = close_unanswered(port, self._timeout_s, spared=working)
        if closed:
            logger.warning("%d connections were closed, whose requests came too slowly", closed)

    def _body(self, environ: Environ) -> "BytesIO | _Late":
        began = time.monotonic()
        with self._bodies.one():
            body = environ["wsgi.input"].read(MAX_BODY + 1)
        announced = environ.get("CONTENT_LENGTH", "")
        cut_off = announced.isdecimal() and len(body) < min(int(announced), MAX_BODY + 1)
        return _Late() if cut_off or time.monotonic() - began > self._timeout_s else BytesIO(body)


class _Late:
    """A body that did not arrive in time, or not at all."""

    def read(self, _size: int) -> bytes:
        raise RequestTimeout


class _UnderWay:
    """The instants at which the requests under way began."""

    def __init__(self) -> None:
        self._begun: dict[object, float] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a request as under way within the context."""
        key = object()
        self._begun[key] = time.monotonic()
        try:
            yield
        finally:
            del self._begun[key]

    def begun_before(self, instant: float) -> list[float]:
        """The instants of requests that began before this one."""
        return [began for began in list(self._begun.values()) if began < instant]
