"""The app on an event loop: `LoopApp`, which Granian calls by its own interface (RSGI).

A request that waits costs a coroutine, not a thread: for a command until its transaction is committed, for a
view until the statement is answered that it shares with others, or until the view has reached its token.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from flask import Flask
from granian._granian import RSGIHTTPProtocol
from granian.rsgi import Scope
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from allocation.adapters.coroutines import at_once
from allocation.adapters.event_loop.read_server import LoopReads
from allocation.adapters.postgresql.database import Database
from allocation.entrypoints.event_loop.bodies import read_body
from allocation.entrypoints.event_loop.caller import LoopCaller
from allocation.entrypoints.event_loop.wsgi import answered_by, environ_of
from allocation.entrypoints.http.answering import answer
from allocation.entrypoints.http.messages import Request, Response
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.entrypoints.http.problems import refused
from allocation.entrypoints.http.route import MAX_BODY, Route
from allocation.entrypoints.http.routes import all_routes
from allocation.service_layer.messagebus import MessageBus

# For what blocks: health, metrics, rebuilds, the documentation.
THREADS = 8
# Stands for the value of a header that is not ASCII, which Granian does not give: it is refused as any wrong
# value is, and not taken for one that was left out.
UNREADABLE = "\N{REPLACEMENT CHARACTER}"


class LoopApp:
    """The routes, on the loop that it is started on; what is no route of theirs is left to `flask_app`."""

    def __init__(
        self,
        bus: MessageBus[Any],
        database: Database,
        flask_app: Flask,
        metrics: HttpMetrics,
        *,
        ready_max_lag: float = 60,
    ) -> None:
        self._bus = bus
        self._database = database
        self._flask = flask_app
        self._metrics = metrics
        self._ready_max_lag = ready_max_lag
        self._addresses: MapAdapter = flask_app.url_map.bind("")

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to wait on this loop."""
        self._loop = loop
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rare")
        self._reads = LoopReads(self._database, loop)
        self._reads.observe(self._metrics.reads)
        routes = all_routes(
            self._bus,
            LoopCaller(loop, self._threads),
            self._reads,
            self._database,
            self._metrics,
            ready_max_lag=self._ready_max_lag,
        )
        self._routes = {f"{route.method} {route.rule}": route for route in routes}
        self._at_fixed_paths = {
            (route.method, route.rule): route for route in routes if "<" not in route.rule
        }

    def __rsgi_del__(self, _: asyncio.AbstractEventLoop) -> None:
        """Give back what it has taken for the loop."""
        self._reads.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __rsgi__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        """Answer one request."""
        began = time.perf_counter()
        route, arguments = self._route(scope)
        if route is None:
            await self._answer_by_flask(scope, protocol)
            return
        request = _received(scope, protocol)
        if route.blocks:
            response = await self._answer_in_thread(route, request, arguments)
        else:
            response = await answer(route, request, arguments)
        protocol.response_bytes(response.status, _headers(response), response.body)
        self._metrics.answered(scope.method, route.rule, response.status, time.perf_counter() - began)

    def _route(self, scope: Scope) -> tuple[Route | None, dict[str, str]]:
        """The route, if the request is for one of them, and what stands in the path."""
        if route := self._at_fixed_paths.get((scope.method, scope.path)):
            return route, {}
        try:
            endpoint, arguments = self._addresses.match(scope.path, scope.method)
        except HTTPException:
            return None, {}
        route = self._routes.get(endpoint)
        # Flask answers HEAD as it does GET, without the body.
        return (route if route is None or route.method == scope.method else None), dict(arguments)

    async def _answer_in_thread(self, route: Route, request: Request, arguments: dict[str, str]) -> Response:
        if route.body is not None:
            try:
                request = _with_body(request, await request.read_body(MAX_BODY))
            except HTTPException as error:
                return refused(request, error)
        answering: Callable[[], Response] = partial(at_once, answer(route, request, arguments))
        return await self._loop.run_in_executor(self._threads, answering)

    async def _answer_by_flask(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        try:
            body = await read_body(scope, protocol, MAX_BODY)
        except HTTPException as error:
            response = refused(_received(scope, protocol), error)
            protocol.response_bytes(response.status, _headers(response), response.body)
            return
        answering = partial(answered_by, self._flask, environ_of(scope, body))
        status, headers, content = await self._loop.run_in_executor(self._threads, answering)
        protocol.response_bytes(status, [(name.lower(), value) for name, value in headers], content)


def _received(scope: Scope, protocol: RSGIHTTPProtocol) -> Request:
    return Request(scope.query_string, partial(_header, scope), partial(read_body, scope, protocol))


def _with_body(request: Request, body: bytes) -> Request:
    """The same request, whose body has been read."""

    async def read(_limit: int) -> bytes:
        return body

    return Request(request.query_string, request.header, read)


def _header(scope: Scope, name: str) -> str | None:
    """The value of the header, or None."""
    if name not in scope.headers:
        return None
    # A list may come in several parts, each in a header of its own. (The stubs lack the method.)
    values: list[str] = scope.headers.get_all(name)  # type: ignore[attr-defined]
    return ",".join(values) if values else UNREADABLE


def _headers(response: Response) -> list[tuple[str, str]]:
    named = [(name.lower(), value) for name, value in response.headers.items()]
    return [("content-type", response.media_type), *named]
