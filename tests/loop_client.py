"""A client of the app on the event loop, with the interface of Werkzeug's for WSGI apps."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from werkzeug.datastructures import EnvironHeaders
from werkzeug.test import Client, TestResponse

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.entrypoints.event_loop.rsgi_app import LoopApp
from allocation.service_layer.messagebus import MessageBus

# Makes a client on a bus and its database.
NewClient: TypeAlias = Callable[[MessageBus[Any], Database], "DrivenClient"]
# Makes one by a driver: `flask` or `loop`.
ClientOf: TypeAlias = Callable[[str, MessageBus[Any], Database], "DrivenClient"]
# The status, the headers and the body.
Answer: TypeAlias = tuple[int, dict[str, str], bytes]

PIECE = 1000
# Where the header lines of a request are, as they came: WSGI has one variable for all of a name.
LINES = "tests.header_lines"


class DrivenClient(Client):
    """A client of a driver that reads its views from `reads`."""

    def __init__(self, application: Callable[..., Iterable[bytes]], reads: ReadServers) -> None:
        super().__init__(application)
        self.reads = reads

    def ask(
        self, method: str, path: str, lines: Sequence[tuple[str, str]], json: object = None
    ) -> TestResponse:
        """The answer to a request with these header lines, of which several may have one name."""
        variables: dict[str, str] = {}
        for name, value in lines:
            variable = "HTTP_" + name.upper().replace("-", "_")
            variables[variable] = f"{variables[variable]},{value}" if variable in variables else value
        given: dict[str, Any] = {LINES: list(lines), **variables}
        return self.open(path, method=method, json=json, environ_overrides=given)

    @property
    def waiting(self) -> int:
        """How many reads wait for their view."""
        return self.reads.waiting._number - self.reads.waiting._free._value


def answer_of(response: TestResponse) -> Answer:
    """What both drivers should answer alike: all but the length, which the loop leaves to its server."""
    headers = {name.lower(): value for name, value in response.headers if name.lower() != "content-length"}
    return response.status_code, headers, response.data


@contextmanager
def loop_client(app: LoopApp) -> Iterator[DrivenClient]:
    """A client of the app, on a loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    try:
        _run(loop, _called(app.__rsgi_init__, loop))
        yield DrivenClient(_through(app, loop), app._reads)
    finally:
        _run(loop, _called(app.__rsgi_del__, loop))
        _run(loop, _end_all())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _run(loop: asyncio.AbstractEventLoop, coroutine: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)


async def _called(function: Callable[..., None], *arguments: object) -> None:
    function(*arguments)


async def _end_all() -> None:
    """Cancel what still waits, so that nothing is left for the garbage collector to complain of."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _through(app: LoopApp, loop: asyncio.AbstractEventLoop) -> Callable[..., Iterable[bytes]]:
    """A WSGI app that has each request answered on the loop."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        protocol = _Protocol(environ["wsgi.input"].read())
        _run(loop, app.__rsgi__(_Scope(environ), protocol))  # type: ignore[arg-type]
        start_response(f"{protocol.status} -", protocol.headers)
        return [protocol.body]

    return answer


class _Headers:
    """The headers of a request, as RSGI gives them."""

    def __init__(self, environ: dict[str, Any]) -> None:
        lines = environ.get(LINES, [])
        apart = {name.lower() for name, _ in lines}
        joined = [each for each in EnvironHeaders(environ).items() if each[0].lower() not in apart]
        self._all = [(name.lower(), value) for name, value in (*joined, *lines)]

    def items(self) -> list[tuple[str, str]]:
        return self._all

    def get(self, name: str, default: str | None = None) -> str | None:
        return next(iter(self.get_all(name)), default)

    def get_all(self, name: str) -> list[str]:
        """Those values that are ASCII: Granian gives no others."""
        return [value for each, value in self._all if each == name and value.isascii()]

    def __contains__(self, name: str) -> bool:
        return any(each == name for each, _ in self._all)


class _Scope:
    """A request, as RSGI describes it."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.proto = "http"
        self.http_version = "1.1"
        self.scheme = "http"
        self.server = "127.0.0.1:8000"
        self.client = "127.0.0.1:50000"
        self.method = environ["REQUEST_METHOD"]
        self.path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        self.query_string = environ["QUERY_STRING"].encode("latin-1").decode(errors="replace")
        self.headers = _Headers(environ)


class _Protocol:
    """The way of one body in, and of one answer out."""

    def __init__(self, received: bytes) -> None:
        self._received = received
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    async def __call__(self) -> bytes:
        return self._received

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._received), PIECE):
            yield self._received[start : start + PIECE]

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
