"""The Flask app, which any WSGI server can serve; `app` is built on first use, from the environment.

It serves the routes to requests that wait with threads. `allocation serve` serves them on an event loop, and
leaves to this app what is rare.
"""

import atexit
import functools
import time
from contextlib import ExitStack
from typing import Any

from flask import Flask, g, request
from flask import Response as FlaskResponse
from flask_openapi3_swagger.plugins import RegisterPlugin as SwaggerUi
from pydantic_core import to_json

from allocation.adapters.configuration import Settings
from allocation.adapters.coroutines import at_once
from allocation.adapters.postgresql.database import Database
from allocation.entrypoints.database import prepared_database
from allocation.entrypoints.http.answering import answer
from allocation.entrypoints.http.identifiers import Identifier
from allocation.entrypoints.http.messages import JSON, Request, Response
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.entrypoints.http.openapi import openapi_document
from allocation.entrypoints.http.problems import refused
from allocation.entrypoints.http.route import Route
from allocation.entrypoints.http.routes import all_routes
from allocation.service_layer.bootstrap import bootstrap
from allocation.service_layer.callers import BlockingCaller
from allocation.service_layer.messagebus import MessageBus

__all__ = ["app", "create_app"]

app: Flask


def create_app(
    bus: MessageBus[Any],
    database: Database,
    *,
    metrics: HttpMetrics | None = None,
    ready_max_lag: float = 60,
) -> Flask:
    """The app on this bus, which reads its views from `database` and adds its counts to `metrics`."""
    metrics = metrics or HttpMetrics(database)
    database.reads.observe(metrics.reads)
    routes = all_routes(
        bus,
        BlockingCaller(),
        database.reads,
        database,
        metrics,
        ready_max_lag=ready_max_lag,
    )
    app = Flask(__name__, static_folder=None)
    app.url_map.converters["identifier"] = Identifier
    app.url_map.merge_slashes = False
    for route in routes:
        _register(app, route)
    _register_documentation(app, routes)
    app.register_error_handler(Exception, lambda error: _sent(refused(_received(), error)))
    _count(app, metrics)
    return app


def _register(app: Flask, route: Route) -> None:
    app.add_url_rule(
        route.rule,
        endpoint=f"{route.method} {route.rule}",
        view_func=lambda **arguments: _sent(at_once(answer(route, _received(), arguments))),
        methods=[route.method],
    )


def _received() -> Request:
    """The request that this thread is to answer."""

    async def read_body(limit: int) -> bytes:
        return request.stream.read(limit + 1)

    return Request(request.query_string.decode(errors="replace"), request.headers.get, read_body)


def _sent(response: Response) -> FlaskResponse:
    """The answer as Flask sends it."""
    return FlaskResponse(response.body, response.status, response.headers, content_type=response.media_type)


def _register_documentation(app: Flask, routes: tuple[Route, ...]) -> None:
    """Serve the OpenAPI document, and Swagger UI with its own copy of every file: it works offline."""
    document = to_json(openapi_document(routes))
    app.add_url_rule(
        "/openapi.json", view_func=lambda: FlaskResponse(document, content_type=JSON), endpoint="openapi"
    )
    app.register_blueprint(SwaggerUi.register(doc_url="/openapi.json"))
    app.add_url_rule("/docs", view_func=app.view_functions["swagger.swagger"], endpoint="docs")


def _count(app: Flask, metrics: HttpMetrics) -> None:
    """Count and time every request of the app."""

    def begin() -> None:
        g.began = time.perf_counter()

    def end(response: FlaskResponse) -> FlaskResponse:
        rule = request.url_rule.rule if request.url_rule else None
        metrics.answered(request.method, rule, response.status_code, time.perf_counter() - g.began)
        return response

    app.before_request(begin)
    app.after_request(end)


@functools.cache
def _app_from_environment() -> Flask:
    """The app on the configured database or, without one, on the embedded PostgreSQL.

    Each write brings the read models up to date before it is answered: there need be no worker.
    """
    settings = Settings()
    until_exit = ExitStack()
    atexit.register(until_exit.close)
    database = until_exit.enter_context(prepared_database(settings))
    metrics = HttpMetrics(database)
    bus = bootstrap(database, settings=settings, observer=metrics.group_commit)
    return create_app(bus, database, metrics=metrics, ready_max_lag=settings.ready_max_lag)


def __getattr__(name: str) -> Flask:
    if name == "app":
        return _app_from_environment()
    raise AttributeError(name)
