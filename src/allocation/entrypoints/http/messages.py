"""Requests and answers, whichever driver has received the one and will send the other."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from pydantic_core import to_json

JSON = "application/json"

ReadBody: TypeAlias = Callable[[int], Awaitable[bytes]]


class Request:
    """What a client asks, beyond the method and the path, which have led to a route.

    `header` gives the value of a header by its name in lower case, or None; `read_body` the body, or of one
    that is longer than the limit some more bytes than that. It may raise werkzeug's RequestTimeout, and
    RequestEntityTooLarge for such a one.
    """

    def __init__(self, query_string: str, header: Callable[[str], str | None], read_body: ReadBody) -> None:
        self.query_string = query_string
        self.header = header
        self.read_body = read_body
        self.announced: dict[str, str] = {}

    @cached_property
    def query(self) -> Sequence[tuple[str, str]]:
        """The query parameters in their order."""
        return parse_qsl(self.query_string, keep_blank_values=True)

    @property
    def mimetype(self) -> str:
        """The media type of the body, without its parameters."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def announce(self, headers: Mapping[str, str]) -> None:
        """Put these headers into whatever is answered, a refusal included."""
        self.announced |= headers


@dataclass(slots=True)
class Response:
    """What is answered; a media type without a charset is UTF-8 all the same."""

    body: bytes
    status: int = HTTPStatus.OK
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def json_response(
    value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with this value: UTF-8, fields in the order of the code, dates in ISO 8601.

    It ends with a line break, for the sake of terminals.
    """
    return Response(to_json(value) + b"\n", status, headers=dict(headers or {}))
