"""Requests on the loop that a WSGI app answers, in a thread."""

import sys
from collections.abc import Iterable
from contextlib import closing
from io import BytesIO
from typing import Any, TypeAlias

from granian.rsgi import Scope

Headers: TypeAlias = list[tuple[str, str]]


def environ_of(scope: Scope, body: bytes) -> dict[str, Any]:
    """The request as WSGI (PEP 3333) describes it."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _as_latin_1(scope.path),
        "QUERY_STRING": _as_latin_1(scope.query_string),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    return environ | _variables(scope.headers.items())


def answered_by(app: Any, environ: dict[str, Any]) -> tuple[int, Headers, bytes]:
    """The status, the headers and the body that a WSGI app answers with."""
    started: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, _exc_info: object = None) -> None:
        started.append((status, headers))

    with closing(app(environ, start_response)) as pieces:
        body = b"".join(pieces)
    status, headers = started[-1]
    return int(status.split(maxsplit=1)[0]), headers, body


def _variables(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for name, value in headers:
        variable = name.upper().replace("-", "_")
        if variable not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            variable = f"HTTP_{variable}"
        variables[variable] = f"{variables[variable]},{value}" if variable in variables else value
    return variables


def _as_latin_1(text: str) -> str:
    """The bytes of the text as WSGI has them: a character for each."""
    return text.encode(errors="surrogateescape").decode("latin-1")
