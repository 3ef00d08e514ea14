"""The Flask app: `create_app` assembles it; `app` is built on first use, from the environment."""

import functools
from typing import Any

from flask import Flask, Response, jsonify
from flask.json.provider import DefaultJSONProvider
from flask_openapi3_swagger.plugins import RegisterPlugin as SwaggerUi
from pydantic_core import to_json

from allocation.adapters.configuration import Settings
from allocation.adapters.postgresql.database import Database
from allocation.entrypoints.http.commands import HttpCommands
from allocation.entrypoints.http.health import HttpHealth
from allocation.entrypoints.http.history import HttpHistory
from allocation.entrypoints.http.home import HttpHome
from allocation.entrypoints.http.identifiers import Identifier
from allocation.entrypoints.http.metrics import HttpMetrics
from allocation.entrypoints.http.openapi import openapi_document
from allocation.entrypoints.http.problems import register_error_handlers
from allocation.entrypoints.http.rebuilds import HttpRebuilds
from allocation.entrypoints.http.route import Route, call
from allocation.entrypoints.http.views import HttpViews
from allocation.service_layer.bootstrap import bootstrap, declared_projections
from allocation.service_layer.messagebus import MessageBus

__all__ = ["app", "create_app"]

app: Flask


class JsonProvider(DefaultJSONProvider):
    """JSON in UTF-8, accents as they are, fields in the order of the code, dates in ISO 8601."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """An answer with these contents, ending with a line break for the sake of terminals."""
        return Response(to_json(self._prepare_response_obj(args, kwargs)) + b"\n", mimetype=self.mimetype)


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
    routes = (
        *HttpHome().routes(),
        *HttpCommands(bus).routes(),
        *HttpViews(database).routes(),
        *HttpHistory(database).routes(),
        *HttpHealth(database, metrics, max_lag_s=ready_max_lag).routes(),
        *HttpRebuilds(database, declared_projections()).routes(),
    )
    app = Flask(__name__, static_folder=None)
    app.json = JsonProvider(app)
    app.url_map.converters["identifier"] = Identifier
    app.url_map.merge_slashes = False
    for route in routes:
        _register(app, route)
    _register_documentation(app, routes)
    register_error_handlers(app)
    metrics.observe(app)
    return app


def _register(app: Flask, route: Route) -> None:
    app.add_url_rule(
        route.rule,
        endpoint=f"{route.method} {route.rule}",
        view_func=functools.partial(call, route),
        methods=[route.method],
    )


def _register_documentation(app: Flask, routes: tuple[Route, ...]) -> None:
    """Serve the OpenAPI document, and Swagger UI with its own copy of every file: it works offline."""
    document = openapi_document(routes)
    app.add_url_rule("/openapi.json", view_func=lambda: jsonify(document), endpoint="openapi")
    app.register_blueprint(SwaggerUi.register(doc_url="/openapi.json"))
    app.add_url_rule("/docs", view_func=app.view_functions["swagger.swagger"], endpoint="docs")


@functools.cache
def _app_from_environment() -> Flask:
    settings = Settings()
    if settings.database_url is None:
        raise RuntimeError("ALLOCATION_DATABASE_URL is not set; `allocation serve` sets it for its workers")
    database = Database(
        settings.database_url,
        schema=settings.database_schema,
        read_url=settings.read_database_url,
        pool_size=settings.pool_size,
    )
    metrics = HttpMetrics(database)
    bus = bootstrap(database, settings=settings, inline=False, observer=metrics.group_commit)
    return create_app(bus, database, metrics=metrics, ready_max_lag=settings.ready_max_lag)


def __getattr__(name: str) -> Flask:
    if name == "app":
        return _app_from_environment()
    raise AttributeError(name)
