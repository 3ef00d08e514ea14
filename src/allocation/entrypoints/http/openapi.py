"""The OpenAPI 3.1 document, made from the routes and their schemas."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, TypeAdapter

from allocation import __version__
from allocation.domain.errors import ValeurInvalide
from allocation.entrypoints.http.errors import HTTP_PROBLEMS, MEDIA_TYPE, PROBLEMS, Problem
from allocation.entrypoints.http.identifiers import Identifiant
from allocation.entrypoints.http.refusals import ChampsInvalides, Introuvable, JsonMalformé
from allocation.entrypoints.http.route import Route
from allocation.entrypoints.http.schemas.problems import Refus

_Json: TypeAlias = dict[str, Any]

_PARAMETER = re.compile(r"<identifier:(\w+)>")

_DESCRIPTION = """\
Ties each order line to a batch of stock (*lot*), never more than the batch holds. The fields are French, as
the domain is; `orderid`, `qty`, `quantite` and `ref` are accepted in requests too. A repeated request changes
nothing and gets the first answer, with status 200. `GET` shows a write a moment later: reads come from views
that follow the journal of events, and `Projection-Position` says how far they have come. A read that sends
back the `Consistency-Token` of a write reflects that write. A token for an event that this journal does not
have, as after a restore to an earlier point in time, is refused.
"""


def openapi_document(routes: Sequence[Route]) -> _Json:
    """The description of these routes, as the value of a JSON document."""
    schemas = _Schemas(routes)
    paths: dict[str, _Json] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Allocation", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": schemas.definitions},
    }


class _Schemas:
    """The JSON schemas of all requests and answers."""

    def __init__(self, routes: Iterable[Route]) -> None:
        asked = [kind for route in routes for kind in (route.body, route.query, route.headers)]
        taken = [kind for kind in asked if kind is not None]
        given = [kind for route in routes for kind in route.answers.values() if not isinstance(kind, str)]
        modes: dict[Any, Literal["validation", "serialization"]] = dict.fromkeys(taken, "validation")
        modes |= dict.fromkeys((*given, Identifiant, Refus), "serialization")
        by_mode, definitions = TypeAdapter.json_schemas(
            [(kind, mode, TypeAdapter(kind)) for kind, mode in modes.items()],
            ref_template="#/components/schemas/{model}",
        )
        self._by_kind = {kind: schema for (kind, _), schema in by_mode.items()}
        self.definitions: dict[str, _Json] = definitions["$defs"]

    def of(self, kind: Any) -> _Json:
        """The schema of a type, usually a reference to its definition."""
        return self._by_kind[kind]

    def properties(self, model: type[BaseModel]) -> dict[str, _Json]:
        """The schemas of a model's fields."""
        properties: dict[str, _Json] = self.definitions[model.__name__]["properties"]
        return properties


def _operation(route: Route, schemas: _Schemas) -> _Json:
    words = re.findall(r"\w+", f"{route.method} {_path(route)}".lower())
    operation: _Json = {"summary": route.summary, "operationId": "_".join(words)}
    if parameters := _parameters(route, schemas):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas.of(route.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = {**_answers(route, schemas), **_refusals(route, schemas)}
    for status, response in operation["responses"].items():
        if headers := _headers(route, status):
            response["headers"] = headers
    return operation


def _headers(route: Route, status: str) -> _Json:
    return {
        header.name: {"description": header.description, "schema": header.schema}
        for header in route.answer_headers
        if int(status) in header.statuses
    }


def _path(route: Route) -> str:
    return _PARAMETER.sub(r"{\1}", route.rule)


def _parameters(route: Route, schemas: _Schemas) -> list[_Json]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": schemas.of(Identifiant)}
        for name in _PARAMETER.findall(route.rule)
    ]
    others = [
        {"name": name, "in": place, "schema": schema, "description": schema.get("description", "")}
        for place, model in (("query", route.query), ("header", route.headers))
        for name, schema in (schemas.properties(model) if model else {}).items()
    ]
    return in_path + others


def _answers(route: Route, schemas: _Schemas) -> _Json:
    answers: _Json = {}
    for status, kind in route.answers.items():
        content = {kind: {}} if isinstance(kind, str) else {"application/json": {"schema": schemas.of(kind)}}
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return answers


def _refusals(route: Route, schemas: _Schemas) -> _Json:
    refusals: _Json = {}
    for problem in _problems(route):
        refusal = refusals.setdefault(
            str(problem.status),
            {
                "description": HTTPStatus(problem.status).phrase,
                "content": {MEDIA_TYPE: {"schema": schemas.of(Refus), "examples": {}}},
            },
        )
        example = {"type": problem.type, "title": problem.title.fr, "status": problem.status, "detail": "…"}
        refusal["content"][MEDIA_TYPE]["examples"][problem.slug] = {"value": example}
    return refusals


def _problems(route: Route) -> list[Problem]:
    """All refusals of the route, including those that come with a path, a query or a body."""
    problems = [PROBLEMS[refusal] for refusal in route.refusals]
    if _PARAMETER.search(route.rule):
        problems += [PROBLEMS[Introuvable], PROBLEMS[ValeurInvalide]]
    # Every route refuses query parameters that it does not know.
    problems.append(PROBLEMS[ChampsInvalides])
    if route.body is not None:
        problems += [PROBLEMS[JsonMalformé], *(HTTP_PROBLEMS[status] for status in (408, 413, 415))]
    return problems
