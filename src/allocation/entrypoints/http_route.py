"""A route together with what is promised about it: served by the app, described in the OpenAPI document."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import NotFound, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.routing import BaseConverter

from allocation.domain.errors import ValeurInvalide
from allocation.domain.values import vérifier_identifiant
from allocation.entrypoints.http_errors import ChampsInvalides, JsonMalformé

MAX_BODY = 64 * 1024

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Header:
    """A header that answers of these statuses may have; `schema` is that of its value."""

    name: str
    description: str
    schema: Mapping[str, Any]
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Route:
    """One method on one path.

    `answers` are its successes: a schema or, for what is not JSON, a media type. `refusals` are the errors
    of PROBLEMS that it may raise. `headers` are the request's, `answer_headers` those of what it gives.
    """

    method: str
    rule: str
    function: Callable[..., Any]
    answers: Mapping[int, Any]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    refusals: tuple[type[Exception], ...] = ()
    answer_headers: tuple[Header, ...] = ()

    @property
    def summary(self) -> str:
        """What the route does: the first line of its function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]


class Identifier(BaseConverter):
    """A business identifier in a path: percent-encoded, any character but control characters."""

    regex = ".+"
    part_isolating = False

    def to_python(self, value: str) -> str:
        try:
            vérifier_identifiant("identifiant", value)
        except ValeurInvalide as error:
            # werkzeug's own way of refusing would go on to look for the path among other methods.
            raise NotFound from error
        return value


def read_body(model: type[M]) -> M:
    """The request's JSON body. Raises JsonMalformé, ChampsInvalides, or werkzeug's 413 and 415."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    # One byte more than allowed shows that it is too long, whether or not its length was declared.
    body = request.environ["wsgi.input"].read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        [first, *_] = error.errors()
        if first["type"] == "json_invalid":
            raise JsonMalformé(first["ctx"]["error"]) from error
        raise ChampsInvalides(error) from error


def read_query(model: type[M]) -> M:
    """The request's query parameters; unknown ones are left alone. Raises ChampsInvalides."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise ChampsInvalides(error) from error
