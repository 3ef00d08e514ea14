"""A route and its description, from which the app serves it and the OpenAPI document is made."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from allocation.entrypoints.http.messages import JSON, Request, Response
from allocation.entrypoints.http.refusals import ChampsInvalides, JsonMalformé
from allocation.entrypoints.http.words import REPEATED, UNKNOWN

MAX_BODY = 64 * 1024

M = TypeVar("M", bound=BaseModel)

# Called with the request and what stands in the path.
RouteFunction: TypeAlias = Callable[..., Awaitable[Response]]


@dataclass(frozen=True)
class Header:
    """A header that answers with these statuses may have; `schema` is the schema of its value."""

    name: str
    description: str
    schema: Mapping[str, Any]
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Route:
    """One method on one path.

    `answers` has a schema for each status of success or, if the answer is not JSON, a media type. `refusals`
    are the errors of PROBLEMS that it may raise; `headers` are the request's, `answer_headers` the answer's.
    A function that `blocks` its thread while it works gets one of few: what is rare may.
    """

    method: str
    rule: str
    function: RouteFunction
    answers: Mapping[int, Any]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    refusals: tuple[type[Exception], ...] = ()
    answer_headers: tuple[Header, ...] = ()
    blocks: bool = False

    @property
    def summary(self) -> str:
        """What the route does: the first line of its function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]


async def read_body(request: Request, model: type[M]) -> M:
    """The request's JSON body. Raises JsonMalformé, ChampsInvalides, or werkzeug's 408, 413 and 415."""
    if request.mimetype != JSON:
        raise UnsupportedMediaType
    body = await request.read_body(MAX_BODY)
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        found = model.model_validate_json(body)
    except ValidationError as error:
        [first, *_] = error.errors()
        if first["type"] == "json_invalid":
            raise JsonMalformé(first["ctx"]["error"]) from error
        raise ChampsInvalides.found_by(error) from error
    # Each member has a colon: where there are no more of them than fields, no name is there twice.
    if body.count(b":") > len(found.model_fields_set):
        json.loads(body, object_pairs_hook=_refuse_repeated)
    return found


def read_query(request: Request, model: type[M]) -> M:
    """The request's query parameters. Raises ChampsInvalides."""
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise ChampsInvalides.found_by(error) from error


def check_names(route: Route, request: Request) -> None:
    """Raises ChampsInvalides for query parameters that the route does not have, or that are repeated."""
    known = route.query.model_fields if route.query else ()
    given = Counter(name for name, _ in request.query)
    wrong = [(name, UNKNOWN) for name in given if name not in known]
    wrong += [(name, REPEATED) for name, times in given.items() if name in known and times > 1]
    if wrong:
        raise ChampsInvalides(wrong)


def _refuse_repeated(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) < len(members):
        times = Counter(name for name, _ in members)
        raise ChampsInvalides((name, REPEATED) for name in times if times[name] > 1)
